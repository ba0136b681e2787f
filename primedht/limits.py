"""Every limit on what comes from outside, with its source. Sizes in bytes, times in seconds.

"ours" marks a figure that no other implementation fixes; the reason stands beside it.
"""

from __future__ import annotations

# --- kad messages ---------------------------------------------------------------------------------
MESSAGE_BYTES_MAX = 4 << 20  # go-libp2p-kad-dht, dht_net.go
SMALL_REPLY_BYTES_MAX = 16 << 10  # rust-libp2p, kad/src/protocol.rs: its default max_packet_size
PEER_ADDRS_BYTES_MAX = 8 << 10  # go-libp2p-kad-dht, pb/message.go: addresses of one peer
PEER_ADDRS_MAX = 32  # ours: entries of one peer; practical lists have fewer than ten
ADDR_BYTES_MAX = 512  # ours: the longest sensible multiaddr (certhashes, relays) is about 300
CLOSER_PEERS_MAX = 256  # ours: accepted in a reply; k of 20 or 32 is usual
PROVIDER_PEERS_MAX = 16_384  # ours: 4 MiB holds no more useful entries
RECORD_KEY_BYTES_MAX = 1024  # ours: go sets none
PROVIDER_KEY_BYTES_MAX = 80  # go-libp2p-kad-dht, handlers.go
STREAM_IDLE_S = 60.0  # go-libp2p-kad-dht, dht_net.go: an inbound stream without a request
REQUEST_TIMEOUT_S = 10.0  # go-libp2p-kad-dht, dht_net.go

# --- records ----------------------------------------------------------------------------------------
VALUE_BYTES_MAX = 64 << 10  # rust-libp2p's store refuses more than 65 KiB
INLINE_BYTES_MAX = 8 << 10  # docs/design.md, "Big values"
GET_BYTES_MAX = 1 << 30  # ours: of a value that a get follows its pointer to, unless it asks for more
BIG_PUTS_AT_ONCE = 16  # ours: each holds a batch of blocks in memory
PUSHED_BATCH_BYTES = 4 << 20  # ours: of a value that comes in pieces, stored together
COMPRESSION_PROBE_BYTES = 1 << 20  # ours: of a value, tried before all of it is compressed
COMPRESSION_SAVED_SHARE_MIN = 0.1  # ours: less is not worth the time of whoever reads it
ZSTD_LEVEL = 3  # zstd's own default
ZSTD_WINDOW_LOG_MAX = 23  # RFC 8878, section 3.1.1.1.2: decoders should take windows of 8 MiB
POINTER_CODEC_CHARS_MAX = 32  # ours: the name of a codec
RECORD_AGE_S_MAX = 48 * 3600.0  # go-libp2p-kad-dht, amino/defaults.go
WRITER_TIME_AHEAD_S_MAX = 60.0  # docs/design.md, "Keys, values, lifetimes"
SIGNED_ISSUED_AHEAD_S_MAX = 120.0  # docs/design.md, "Keys, values, lifetimes"
SIGNED_LIFETIME_S_MAX = 30 * 86400.0  # docs/design.md, "Keys, values, lifetimes"

# --- provider records -----------------------------------------------------------------------------
PROVIDER_RECORD_TTL_S = 48 * 3600.0  # go-libp2p-kad-dht, amino/defaults.go
PROVIDER_ADDRS_TTL_S = 24 * 3600.0  # go-libp2p-kad-dht, amino/defaults.go
REPROVIDE_INTERVAL_S = 22 * 3600.0  # go-libp2p-kad-dht, amino/defaults.go
PROVIDERS_PER_KEY_MAX = 1000  # ours: bounded by random eviction, never first come

# --- blocks -----------------------------------------------------------------------------------------
CID_TEXT_CHARS_MAX = 256  # ours: a CIDv1 of the longest multihash takes 170 in base16
BLOCK_BYTES_MAX = 2 << 20  # IPFS specs, bitswap protocol, "Block Sizes"
DIRECTORY_NODE_BYTES_MAX = 256 << 10  # IPIP-499: a larger directory becomes a HAMT
HAMT_FANOUT = 256  # IPIP-499
HAMT_FANOUT_MAX = 1024  # UnixFS specification, "dag-pb HAMTDirectory": implementations may refuse more
HAMT_DEPTH_MAX = 21  # ours: 64 bits of hash at 3 bits a level
FILE_NAME_BYTES_MAX = 255  # Linux, NAME_MAX
DIRECTORY_DEPTH_MAX = 64  # ours: as deep as a path of PATH_MAX is likely to be
DIRECTORY_ENTRIES_MAX = 1 << 20  # ours: of one import or export; each takes about 300 bytes of memory
PLACED_PIECES_MAX = 1 << 22  # ours: of one pull, 1 TiB in pieces of 256 KiB; each takes 150 bytes of memory
DAG_DEPTH_MAX = 32  # ours: nodes of 2 links hold 2**32 leaves so deep; HAMTs add 8
BLOCK_INLINE_BYTES_MAX = 16 << 10  # ours: larger ones are files of their own; LMDB copies pages on writing
BLOCK_BATCH_BYTES = 16 << 20  # ours: of an import, stored together: memory, and one sync of each folder
BLOCK_BATCH_MAX = 256  # ours: blocks stored or deleted together
BLOCK_SYNCS_AT_ONCE = 8  # ours: 110 MB/s one after the other, 440 MB/s so (64 blocks of 256 KiB, ext4)
BLOCK_THREADS_MAX = 8  # ours: reads and writes of block files at once
BLOCK_REFERENCES_MAX = 4  # ours: files that one block may be a piece of
BLOCKS_DISK_FREE_BYTES_MIN = 256 << 20  # ours: records and logs need room too
BLOCK_FETCH_TIMEOUT_S = 60.0  # ours: one block, providers found included
BLOCK_ROOM_RETRY_S = 60.0  # ours: after a collection that found nothing to remove, while the quota is reached
GC_REPAIR_S = 60.0  # ours: for fetching what pinned DAGs lack, before a collection goes on without
BLOCK_CHECKS_INTERVAL_S = 3600.0  # ours: between looks at referenced files and at expired pins
BITSWAP_MESSAGE_BYTES_MAX = 4 << 20  # IPFS specs, bitswap protocol, "Block Sizes"
BITSWAP_ENTRIES_MAX = 16_384  # ours: wants and presences of one message; more take milliseconds to read
BITSWAP_CID_BYTES_MAX = 168  # boxo, bitswap/internal/defaults: MaximumAllowedCid
BITSWAP_WANTS_PER_PEER_MAX = 1024  # boxo, bitswap/internal/defaults: MaxQueuedWantlistEntriesPerPeer
BITSWAP_PEERS_MAX = 1024  # ours: whose wants are remembered
BITSWAP_HAVE_REPLACED_BYTES_MAX = 1024  # boxo, decision engine: a block this small goes instead of HAVE
BITSWAP_DECODE_AT_ONCE_BYTES = 768 << 10  # ours: larger messages, of 1 MiB blocks say, are hashed in threads
BITSWAP_DECODERS_MAX = 2  # ours: such messages at once
BITSWAP_ANSWER_BYTES = 512 << 10  # ours: of blocks in one message; boxo's 16 KiB is one block at a time
BITSWAP_ANSWERS_AT_ONCE = 128  # ours: messages in memory at once, of all peers, until they are sent
BITSWAP_IN_BYTES_MAX = 128 << 20  # ours: parts of messages in memory, of all peers
BITSWAP_IN_BYTES_PER_PEER_MAX = 16 << 20  # ours: the same, of one peer
BITSWAP_STREAMS_IN_MAX = 64  # ours: of one peer; kubo opens one for each message
BITSWAP_STREAM_IDLE_S = 60.0  # ours: an idle stream is opened again when it is needed
BITSWAP_SEND_TIMEOUT_S = 60.0  # ours: for one message to a peer that reads slowly
BITSWAP_BROADCAST_MAX = 64  # boxo, session: live wants that every connected peer is asked for
BITSWAP_REPEATED_BYTES_MAX = 16 << 20  # ours: of blocks sent more often than asked for, while connected
COMPRESSED_BLOCK_BYTES_MIN = 256  # ours: of a block in transit; below, the frame's header eats what is saved
COMPRESSION_PROBE_PIECE_BYTES = 1024  # ours: of four pieces of a block that show whether it is tried
COMPRESSION_INLINE_BYTES_MAX = 64 << 10  # ours: less is compressed sooner than a thread begins
ZSTD_TRANSIT_LEVEL = 1  # ours: tokenizers by 65 % at 320 MB/s, level 3 by 66 % at 250
ZSTD_BLOCK_WINDOW_LOG_MAX = 21  # ours: 2 MiB, as large as a block
BITSWAP_BAN_S = 3600.0  # ours: after bytes that nobody asked for
BITSWAP_ASKED_REMEMBERED_MAX = 16_384  # ours: of one peer; late blocks of cancelled wants are no fault
FETCH_UNSTORED_BYTES_MIN = 4 << 20  # ours: asked for or waiting for the disk, of one fetch: a kill loses it
FETCH_UNSTORED_BYTES_MAX = 32 << 20  # ours: as above, when much is stored
FETCH_UNSTORED_SHARE = 1 / 64  # ours: as above, of what is stored: under 2 % is fetched again after a kill
FETCH_WINDOW_BYTES_FIRST = 1 << 20  # ours: asked of one peer whose rate is not known yet
FETCH_WINDOW_BYTES_MAX = 32 << 20  # ours: asked of one peer: 640 MB/s at 50 ms
FETCH_WINDOW_S = 0.5  # ours: of a peer's rate; above any round-trip time, so that it can grow
FETCH_RATE_INTERVAL_S = 0.25  # ours: over which a peer's rate is measured
FETCH_PATIENCE_S_MIN = 2.0  # ours: before a block is asked of another peer too
FETCH_PATIENCE_S_MAX = 30.0  # ours: likewise, of a peer that has sent nothing yet, a third of it
FETCH_PATIENCE_FACTOR = 4.0  # ours: of the time that a peer's rate lets expect
FETCH_PEER_FAILURES_MAX = 3  # ours: patience lost in a row before a peer is left alone
FETCH_BATCH_BYTES = 4 << 20  # ours: stored together
FETCH_PENDING_MAX = 4096  # ours: blocks known to be missing; more come from nodes read when there is room
FETCH_PEERS_MAX = 32  # ours: of one fetch
FETCH_SEARCH_PAUSE_S = 1.0  # ours: between searches for providers, doubled each time
FETCH_SEARCHES_MAX = 3  # ours: without a block in between, before what is missing counts as nowhere
REPLICATE_MESSAGE_BYTES_MAX = 128 << 10  # ours: a record of 64 KiB and its key fit
REPLICATE_REASON_CHARS_MAX = 64  # ours: of a peer's refusal
REPLICATE_NONCE_BYTES = 32  # proto/primedht/replicate.proto
REPLICATE_STREAMS_IN_MAX = 8  # ours: of one peer
REPLICATE_FETCHES_AT_ONCE = 8  # ours: offers of all peers that are being fetched
REPLICATE_FETCH_S_MAX = 24 * 3600.0  # ours: a fetch that gets nothing ends long before
REPLICATE_SIGN_OF_LIFE_S = 5.0  # ours: between two while an offer is being fetched
REPLICATE_SILENCE_S = 30.0  # ours: before a peer that says nothing is given up
REPLICATE_INTERVAL_S = 3600.0  # ours: between two looks at who holds what is held here, as for records
REPLICATE_JITTER_S = 60.0  # ours: before each, so that holders do not all act at once
REPLICATE_DEPARTED_BATCH_S = 5.0  # ours: peers that depart together are seen to together
REPLICATE_DEPARTED_JITTER_S = 10.0  # ours: before each value that a departed peer held
REPLICATE_RETRY_S = 10.0  # ours: before what too few keep is offered again; doubles up to the interval
REPLICATE_REPAIRS_AT_ONCE = 4  # ours: values whose holders are being replaced after a departure
REPLICATE_REPAIR_BYTES_PER_S = 64 << 20  # ours: half a gigabit; the next repair waits until it is kept
REPLICATE_TURN_S = 30.0  # ours: how long a holder waits for each that is closer to the root
REPLICATE_TURN_BYTES_PER_S = 8 << 20  # ours: a repair that is slower may be done twice
REPLICATE_WAIT_SHARE = 0.9  # ours: of what is left of a put's time
REPLICATE_HAND_OVERS_AT_ONCE = 4  # ours: values, when this node leaves
UNDO_S = 30.0  # ours: for removing what an operation that failed has stored
PIN_NAME_BYTES_MAX = 256  # ours: fits a store key beside the longest CID
SAFETENSORS_HEADER_BYTES_MAX = 8 << 20  # ours: safetensors takes 100 MB; parsed, that fills memory

# --- tensors and models -------------------------------------------------------------------------------
TENSORS_MAX = 1 << 18  # ours: of one model or checkpoint; DeepSeek-V3 has 91,991
TENSOR_NAME_BYTES_MAX = 1024  # ours: paths of modules take some hundred
TENSOR_DIMENSIONS_MAX = 64  # numpy 2, NPY_MAXDIMS
TENSOR_COPY_BYTES = 16 << 20  # ours: of a tensor, written at a time
TENSOR_TABLE_BYTES_MAX = 64 << 20  # ours: TENSORS_MAX entries of 256 bytes
STATE_DEPTH_MAX = 64  # ours: of a checkpoint's state; optimizers nest four deep
STATE_TREE_BYTES_MAX = (
    64 << 20
)  # ours: a checkpoint's scalars and structure; TENSORS_MAX entries of 256 bytes
MODEL_NAME_CHARS_MAX = 96  # Hugging Face, the longest name of a repository
MODEL_METADATA_BYTES_MAX = 64 << 10  # ours: training configuration and what else is said about a model
MODEL_FILES_MAX = 10_000  # ours: of one model; at 150 bytes they fit a block
MODEL_VERSIONS_MAX = 64  # ours: in one record, at 70 bytes each; the oldest leave the list
CHECKPOINT_STEPS_MAX = 64  # ours: of one run, kept and pinned; in one record, at 70 bytes each
CHECKPOINT_STEP_MAX = (1 << 62) - 1  # ours: what counts steps has 63 bits at most
CHECKPOINT_KEEP = 3  # ours: steps of a run, unless the publisher says otherwise
CHECKPOINT_SHARDS_MAX = 1024  # ours: ranks of the largest runs; at 60 bytes each a manifest is one block
CHECKPOINT_METADATA_BYTES_MAX = 4 << 10  # ours: travels in each part's record
CHECKPOINT_PART_TTL_S = 86400.0  # ours: of a part's record; slower ranks are dead ones
CHECKPOINT_COMMIT_S_MAX = 3600.0  # ours: how long a rank's node looks for the other ranks' parts
CHECKPOINT_POLL_S = 0.5  # ours: between two looks at first; grows to the next
CHECKPOINT_POLL_S_MAX = 30.0  # ours: a look costs one or two lookups
CHECKPOINT_READS_AT_ONCE = 16  # ours: parts' records
CHECKPOINT_PUT_TRIES = 5  # ours: two ranks' nodes that write one run's record see each other's at the second

# --- jobs ---------------------------------------------------------------------------------------------
JOBS_RESUMED_AFTER_S = 5.0  # ours: what joining takes; before, records of others are not found
JOBS_RETRY_S = 1.0  # ours: before a resumed job tries again; grows by half
JOBS_RETRY_S_MAX = 30.0  # ours: a try costs a few lookups
JOBS_SHOWN_MAX = 32  # ours: in the node's status
JOBS_MAX = 1024  # ours: under way in one node
JOBS_ENDED_MAX = 256  # ours: whose end can still be asked for

# --- stores -----------------------------------------------------------------------------------------
STORE_KEY_BYTES_MAX = 511  # lmdb: MDB_MAXKEYSIZE as commonly built
STORE_VALUE_BYTES_MAX = 1 << 20  # ours: records and blocks' metadata are far smaller
STORE_SCAN_ENTRIES_MAX = 1000  # ours: one page of a scan
STORE_CHANGES_MAX = 1000  # ours: changes that a sweep or flush puts into one transaction
LMDB_MAP_BYTES = 64 << 20  # ours: to start with; address space, not memory
LMDB_MAP_BYTES_MAX = 1 << 40  # ours: 1 TiB of address space
LMDB_COMMIT_BYTES_MAX = 16 << 20  # ours: far below MDB_TXN_FULL (128 Ki pages), milliseconds to write
REDIS_TIMEOUT_S = 10.0  # ours: one call, or a connection's greeting
REDIS_RETRY_S = 0.5  # ours: between attempts to reach a server that is away
PROVIDER_FLUSH_S = 1.0  # ours: how long what peers announced may be in memory only
PROVIDERS_UNFLUSHED_MAX = 200_000  # ours: changes that wait while the store is away
CORRECTIONS_MAX = 64  # ours: reads whose entry correction goes on at once, in the background
CORRECTION_TIMEOUT_S = 30.0  # go-libp2p-kad-dht, routing.go: updatePeerValues
WRITER_CLOCKS_MAX = 256  # ours: writers whose dates are compared with our clock
EQUIVOCATIONS_MAX = 1024  # ours: keys whose owner's double signing was reported already
VERSION_FLOORS_MAX = 200_000  # ours: as many as records; about 250 bytes of memory each

# --- lookups ---------------------------------------------------------------------------------------
RESILIENCY = 3  # beta; go-libp2p-kad-dht, amino/defaults.go
QUERY_PEERS_PER_REPLY_FACTOR = 2  # go-libp2p-kad-dht, query.go: at most 2k peers of one reply are used
QUERY_SEEDS_FACTOR = 3  # ours: go seeds with k; with more, many dead seeds at once end no lookup early
QUERY_PEERS_MAX = 1000  # ours: peers held by one query; an honest one meets k times its hops, some 200

REGION_CROWDED_SHARE = 0.4  # ours: of the span expected of the k closest; honest keys go below once in 1e5
REGION_NETWORK_SIZE_MIN = 1.0  # ours: in buckets; in a smaller network everybody is found
REGION_LOOKUPS = (
    7  # ours: log2 of k = 20, and two for the spread; each half as far from the key as the one before
)
REGION_CROWDED_SIDES_MAX = (
    3  # ours: those at which others crowd too, of which each costs as many lookups again
)
REGION_PEERS_PER_SIDE = 10  # ours: asked besides; of k = 20 in a region its widest side has half

# --- routing table ----------------------------------------------------------------------------------
PEERS_PER_IP_GROUP_MAX = 3  # go-libp2p-kad-dht, amino/defaults.go: in a table, or in one reply
PEERS_PER_IP_GROUP_AND_CPL_MAX = 2  # go-libp2p-kad-dht, amino/defaults.go
IPS_PER_PEER_MAX = 32  # ours: as many as the addresses we read of one peer
REFRESH_CPL_MAX = 15  # go-libp2p-kbucket, table_refresh.go: deeper buckets fill by themselves
NETSIZE_SAMPLES_MIN = 5  # go-libp2p-kad-dht, netsize.go
NETSIZE_SAMPLES_MAX = 150  # go-libp2p-kad-dht, netsize.go
NETSIZE_CROWDED_WEIGHT = 1 / 8  # ours: of a sample by which peers may crowd about its target
NETSIZE_SAMPLE_AGE_S_MAX = 2 * 3600.0  # go-libp2p-kad-dht, netsize.go

# --- control socket ---------------------------------------------------------------------------------
CONTROL_REQUEST_BYTES_MAX = 4 << 20  # go-libp2p core/network, MessageSizeMax: what p2pd reads
CONTROL_RESPONSE_BYTES_MAX = 64 << 20  # ours: what our clients accept; a status or a batch of values
CONTROL_CONNECTIONS_MAX = 1024  # ours: room for 1,000 clients at once
CONTROL_REQUEST_S = 30.0  # ours: a request that has begun must be complete by then
CONTROL_SMALL_REQUEST_BYTES = 96 << 10  # ours: a record of 64 KiB and its key fit
CONTROL_LARGE_REQUESTS_MAX = 16  # ours: larger requests being received at once, 64 MiB in all
CONTROL_SEND_STALL_S = 30.0  # ours: a client that takes no byte of an answer for so long is dropped
CONTROL_TIMEOUT_S = 60.0  # go-libp2p-daemon, conn.go, DefaultTimeout
CONTROL_TIMEOUT_S_MAX = 24 * 3600.0  # ours: no request outlives a day
CONTROL_TIMEOUT_MARGIN_S = 0.5  # ours: by which an operation that misses its time limit is ended
FILE_DESCRIPTORS = 16_384  # ours: control connections, piped streams, peers, the store, and as many again
STATUS_KEPT_ALIVE_MAX = 100  # ours: own values that a status lists; it counts the others
CONTROL_CHUNK_BYTES = 64 << 10  # ours: as we send them; within CONTROL_SMALL_REQUEST_BYTES
CONTROL_CHUNK_BYTES_MAX = 1 << 20  # ours: as we take them
CONTROL_GET_BYTES_MAX = 1 << 20  # ours: of a value in one answer; larger ones come in chunks
CONTROL_CHUNKS_UNANSWERED = 16  # ours: sent by our clients; so few answers never fill a socket
CONTROL_DESCRIPTORS_MAX = 4  # ours: of a connection, not yet taken by a request; an import sends one
CONTROL_PUT_SILENCE_S = (
    600.0  # ours: a put in chunks without the next; BIG_PUTS_AT_ONCE wait for nobody longer
)
CONTROL_STEP_S = 60.0  # ours: our clients' patience between signs of life of an import
CONTROL_PROGRESS_S = 1.0  # ours: between two signs of life of an operation that takes long
EVENTS_WAITING_MAX = 1024  # ours: of one subscriber; some 300 bytes each, with traces some KiB
SUBSCRIBERS_MAX = 32  # ours: those who watch a node; each may make events wait
CONTROL_BATCH_ITEMS_MAX = 1024  # ours: put_many and get_many, per request
CONTROL_BATCH_AT_ONCE = 16  # ours: operations of one batch in flight
CONTROL_PROVIDERS_DEFAULT = 20  # go-libp2p-daemon, dht.go, defaultProviderCount
CONTROL_HANDLERS_MAX = 128  # ours: protocols registered by clients; half of IDENTIFY_PROTOCOLS_MAX
CONTROL_HANDLER_STREAMS_MAX = 512  # ours: inbound streams piped to clients at once, two sockets each
CONTROL_TARGET_DIAL_S = 5.0  # ours: a client of this machine accepts at once or not at all
CONTROL_TAG_CHARS_MAX = 128  # ours: go sets none
CONTROL_TAGS_PER_PEER_MAX = 64  # ours: go sets none
TAGGED_PEERS_MAX = 4096  # ours: go sets none
UNIX_SOCKET_PATH_BYTES_MAX = 107  # Linux, sun_path of 108 bytes with its NUL
CONFIG_BYTES_MAX = 1 << 20  # ours: a configuration file is some KiB
DATA_DIR_FREE_BYTES_MIN = 1 << 20  # ours: LMDB maps its lock file; without room for it the kernel kills us

# --- signed records and keys ------------------------------------------------------------------------
IPNS_LIFETIME_S = 48 * 3600.0  # boxo/ipns, defaults.go, DefaultRecordLifetime
IPNS_LIFETIME_S_MAX = 365 * 86400.0  # ours: what a name points at can be taken back within a year
IPNS_TTL_S = 300.0  # boxo/ipns, defaults.go, DefaultRecordTTL
IPNS_RECORD_BYTES_MAX = 10 << 10  # IPNS record spec, "Record Size Limit"; boxo/ipns, MaxRecordSize
SIGNED_OVERHEAD_BYTES_MAX = 512  # ours: an envelope around VALUE_BYTES_MAX stays under rust's 65 KiB
SEQUENCE_MAX = 2**63 - 1  # ours: sequences fit signed 64-bit integers everywhere
NETWORK_ID_BYTES_MAX = 256  # ours: a protocol id is some tens of bytes
PRIME_KIND_CHARS_MAX = 32  # ours: a word such as "model"
PRIME_PATH_BYTES_MAX = 512  # ours: leaves room for kind and owner in RECORD_KEY_BYTES_MAX
PUBLIC_KEY_BYTES_MAX = 4 << 10  # ours: the largest RSA key allowed takes about 1.1 KiB
RSA_KEY_BITS_MIN = 2048  # go-libp2p, core/crypto/rsa_common.go
RSA_KEY_BITS_MAX = 8192  # go-libp2p, core/crypto/rsa_common.go
VERIFIED_SIGNATURES_MAX = 8192  # ours: digests of 32 bytes, some 1 MB in all
CBOR_DEPTH_MAX = 16  # ours: IPNS data is a flat map; extensions may nest a little
KEY_FILE_BYTES_MAX = 16 << 10  # ours: a private key's file has some hundred bytes
PSK_FILE_BYTES_MAX = 4 << 10  # ours: three lines of some 95 bytes together
KEY_NAME_CHARS_MAX = 64  # ours: a file name with room for a suffix

# --- peers --------------------------------------------------------------------------------------------
ADMISSION_QUEUE_MAX = 256  # ours: candidates waiting to be verified; go checks 256 at once
ADMISSIONS_AT_ONCE = 8  # ours: a Python handshake costs milliseconds of CPU
CHECKS_AT_ONCE = 32  # ours: of members and connected peers; most wait for an answer only
EVICTION_PING_AGE_S = 600.0  # ours: a member heard from more recently is not pinged for a newcomer
HEARD_ADDRS_TTL_S = 600.0  # ours: addresses that a third peer told us; go keeps them 2 minutes
FOUND_PEERS_MAX = 4096  # ours: peers whose way of discovery is remembered
LIVENESS_TICK_S = 5.0  # ours: how often silent members are looked for
LIVENESS_SCAN_TICKS = 6  # ours: every so many of these, at all members; else at those we share records with
NEIGHBOUR_PROBE_S = 300.0  # ours: a silent member among our k closest is asked after this long
PARTNER_PROBE_S_MIN = 10.0  # ours: one that we share records with, if peers depart fast
PARTNER_PROBE_S_MAX = 60.0  # ours: as above, if they stay or copies are many
RECORD_LOSS_PER_DAY = 1e-4  # ours: share of records that may be lost because a death is noticed late
DEPARTURES_LATELY_S = 1800.0  # ours: the window that says how often partners are asked
DEPARTURES_LATELY_ASSUMED_S = 7200.0  # ours: one departure of a peer in so long, until any is seen: caution
DEPARTURES_WINDOW_S = 7200.0  # ours: the window that says how often provider records are announced
DEPARTURES_ASSUMED = 0.05  # ours: departures taken as seen at the start, over this share of
DEPARTURES_ASSUMED_LIFE_S = 200_000.0  # ours: long enough for go's interval of reproviding
SET_ASIDE_S = 600.0  # ours: a peer that somebody disconnected is not looked for; as PASSED_OVER_S
DEPARTED_PEERS_MAX = 256  # ours: peers that failed and are tried again
DEPARTED_PAUSE_S = 5.0  # ours: first pause before a failed peer is tried again; grows
DEPARTED_PAUSE_GROWTH = 4  # ours: one that does not come back at once most likely stays away for long
DEPARTED_NEAR_S = 120.0  # ours: so long a lost neighbour is tried often
DEPARTED_NEAR_PAUSE_S = 15.0  # ours: longest pause meanwhile
DEPARTED_PAUSE_S_MAX = 600.0  # ours
DEPARTED_ATTEMPTS_MAX = 30  # ours: over three hours
RETURN_RETRIES = 8  # ours: lost members that are tried at once for each one that returns
RETURN_RETRY_STAGGER_S = 0.1  # ours: between these, so that they take about a second
DEPARTED_TOGETHER_S = 180.0  # ours: members lost within so long may come back together
DEPARTED_OUT_OF_TURN_S = 60.0  # ours: a departed peer is tried out of turn at most so often
DEPARTED_WORD_AFTER_S = 10.0  # ours: who names a peer that failed just now may not know yet
STRANGER_ATTEMPTS_MAX = 4  # ours: as above for peers that never were members; about a minute
MEMBER_CLOSED_S = 3600.0  # ours: a far member that closes its connection is asked at most so often
PASSED_OVER_S = 600.0  # ours: a peer that answered and found its bucket full is left alone so long
REPLACEMENTS_WANTED = 3  # ours: full buckets with so many that answered lately do not ask who connects
REPLACEMENT_FRESH_S = 600.0  # ours: one that answered longer ago is no sure replacement; as PASSED_OVER_S
PASSED_OVER_PEERS_MAX = 1024  # ours: such peers remembered
SLOW_AFTER_S = 1.0  # ours: a lookup's patience with a peer of unknown round-trip time
SLOW_AFTER_S_MIN = 1.0  # ours: no less, however near: a loaded machine stalls so long, and holders count
SLOW_DIAL_S = 2.0  # ours: as above, for one to be dialled first, while few dials have been measured
DIALS_KNOWN_MIN = 16  # ours: the first to answer are the near ones; the far ones would seem late
SLOW_AFTER_RTTS = 4.0  # ours: patience in measured round-trip times
LATE_AFTER_S_MIN = 0.1  # ours: others are asked in a late peer's place no sooner, however near it is
LATE_AFTER_RTTS = 2.0  # ours: as above, in measured round-trip times

# --- host: connections ------------------------------------------------------------------------------
CONNECTION_BACKLOG_BYTES_MAX = 8 << 20  # ours: bytes a peer leaves unread before its connection ends
CONNECTION_UNREAD_BYTES_MAX = 16 << 20  # ours: one stream's largest window in py-libp2p's Yamux
WRITE_STALL_TIMEOUT_S = 30.0  # ours: a peer that takes no byte for so long is dropped
CONNECT_TIMEOUT_S = 5.0  # go-libp2p, tcp.go: defaultConnectTimeout
HANDSHAKE_TIMEOUT_S = 10.0  # py-libp2p, network/config.py: upgrade of a connection
PSK_PROOF_TIMEOUT_S = 8.0  # ours: for nonce and first bytes; ends before HANDSHAKE_TIMEOUT_S, to say why
PSK_REPORT_INTERVAL_S = 60.0  # ours: a flood of strangers must not fill the log
DIAL_TIMEOUT_S = 15.0  # ours: all addresses of a peer together; go's 60 s holds a lookup up too long
DIAL_STAGGER_S = 0.25  # RFC 8305, "Connection Attempt Delay"; go-libp2p, dial_ranker.go
DIALS_MAX = 160  # go-libp2p, swarm limiter: concurrent file descriptors of dials
DIAL_BACKOFF_S_MIN = 1.0  # ours: a refused dial costs next to nothing
DIAL_BACKOFF_S_MAX = 15.0  # ours: go's 5 s to 5 min hides a peer that came back
DIAL_BACKOFFS_MAX = 4096  # ours: peers remembered as just failed
HANDSHAKES_MAX = 128  # ours: inbound, not yet authenticated; the oldest of the busiest IP yields
HANDSHAKES_PER_IP_MAX = 16  # ours: as above, per public IP
HANDSHAKES_PER_BLOCK_BURST = 64  # ours: begun from one public /24 or /48; go allows 12 per IP
HANDSHAKES_PER_BLOCK_PER_S = 4.0  # ours: many machines may be behind one address; go allows 0.2
HANDSHAKE_BLOCKS_MAX = 4096  # ours: blocks remembered
HANDSHAKE_CPU_S = 0.002  # ours: what one costs, until that has been measured
HANDSHAKE_CPU_SHARE = 0.5  # ours: of one core, for all inbound ones while established peers are active
HANDSHAKE_CPU_BURST_S = 0.25  # ours: unspent CPU that may be used at once
ESTABLISHED_AFTER_S = 5.0  # ours: a connection counts as established, and its peer deserves room
ACTIVE_WITHIN_S = 1.0  # ours: a peer heard of as recently is active
CONNECTIONS_PER_PEER_MAX = 4  # ours: simultaneous dials need two
CONNECTION_CLOSE_TIMEOUT_S = 1.0  # py-libp2p, network/config.py
HANDLER_GRACE_S = 5.0  # ours: what a handler gets to end after its connection did
PING_TIMEOUT_S = 5.0  # ours: for the ping that tells a slow peer from a dead one
PING_BYTES = 32  # libp2p specs, ping/ping.md

# --- host: streams ----------------------------------------------------------------------------------
MULTISTREAM_LINE_BYTES_MAX = 1024  # go-multistream, multistream.go
MULTISTREAM_PROPOSALS_MAX = 32  # ours: of one negotiation; nodes propose one or two
NEGOTIATION_TIMEOUT_S = 10.0  # py-libp2p, network/config.py
INBOUND_STREAMS_MAX = 1024  # go-yamux, mux.go: MaxIncomingStreams is 1000; open at once, of one connection
OUTBOUND_STREAMS_MAX = INBOUND_STREAMS_MAX  # ours: a thousand of one protocol, and identify beside them
LIBP2P_OUTBOUND_STREAMS_MAX = 192  # py-libp2p's yamux blocks at 256
STREAM_LINGER_S = 10.0  # ours: a stream that we ended and the peer did not is reset after this
KAD_STREAMS_IDLE_MAX = 2  # ours: kept per peer for the next requests
KAD_STREAMS_OUT_MAX = 8  # ours: requests to one peer at once
KAD_STREAM_IDLE_S = 8.0  # js-libp2p aborts a stream that is idle for 10 s (kad-dht, rpc/index.ts)
KAD_STREAMS_IN_MAX = 128  # ours: of one peer; twice what js opens at once (kad-dht, 64 outbound)
KAD_REQUESTS_IN_MAX = 256  # ours: being answered at once, of all peers
KAD_IN_BYTES_PER_PEER_MAX = 16 << 20  # ours: requests and replies of one peer in memory at once
KAD_IN_BYTES_MAX = 128 << 20  # ours: the same, of all peers
KAD_REQUESTS_PER_PEER_MAX = KAD_STREAMS_OUT_MAX  # ours: as above, of one peer; the others wait
KAD_ANSWER_TIMEOUT_S = (
    30.0  # ours: what one inbound request gets at least, its reply sent; at most STREAM_IDLE_S
)
PING_STREAMS_IN_MAX = 4  # ours: of one peer; go allows 2

# --- host: noise and yamux ----------------------------------------------------------------------------
NOISE_MUXERS_MAX = 16  # ours: multiplexers looked at in a handshake; peers offer one or two
NOISE_FRUITLESS_READS_MAX = 32_768  # ours: reads of a few bytes that complete no frame, net of others
YAMUX_WINDOW_BYTES_MAX = 16 << 20  # go-yamux, const.go: maxStreamWindow
YAMUX_WINDOW_GROWTH_BYTES_MAX = 16 << 20  # ours: of a connection's receive windows, beyond the initial
YAMUX_UNREAD_BYTES_MAX = 32 << 20  # ours: of a connection: that growth and 64 full initial windows
YAMUX_MEMORY_BYTES_MAX = 256 << 20  # ours: unread data of all connections together
YAMUX_MEMORY_BYTES_FAIR = 1 << 20  # ours: what a connection may hold when that is exceeded
YAMUX_STREAM_QUEUE_BYTES = 256 << 10  # ours: unsent data of a stream above which its writer waits
YAMUX_QUEUE_BYTES = 1 << 20  # ours: of a connection above which every writer waits for its own
YAMUX_CONTROL_BYTES_MAX = 64 << 10  # ours: unsent replies to a peer that asks and does not read
YAMUX_ACCEPT_BACKLOG = 256  # go-yamux, mux.go: AcceptBacklog
YAMUX_ACK_BACKLOG = 256  # libp2p specs, yamux/README.md, "ACK backlog & backpressure"
YAMUX_SKIPPED_IDS_MAX = 1024  # ours: go-yamux may send the first frames of new streams out of order
YAMUX_KEEPALIVE_S = 30.0  # go-yamux, mux.go: KeepAliveInterval
YAMUX_PING_TIMEOUT_S = 15.0  # ours: go's ConnectionWriteTimeout is 10 s
YAMUX_RTT_AGE_S = 1.0  # ours: while data flows, the round-trip time is measured anew after this long
YAMUX_IDLE_FRAMES_BURST = 256  # ours: pings and frames without effect
YAMUX_IDLE_FRAMES_PER_S = 16.0  # ours: peers ping every 10 to 30 s
YAMUX_CHURN_BURST = 2048  # ours: streams that the peer resets, opens beyond the limits, or overfills
YAMUX_CHURN_PER_S = 128.0  # ours: an honest lookup gives up on a few streams a second

# --- host: identify and addresses -----------------------------------------------------------------------
IDENTIFY_BYTES_MAX = 32 << 10  # ours: all messages of one answer; go's limit is 8 KiB a message
IDENTIFY_MESSAGES_MAX = 10  # go-libp2p, identify/id.go: maxMessages
IDENTIFY_TIMEOUT_S = 10.0  # ours: go waits 60 s, js 5 s
IDENTIFY_PROTOCOLS_MAX = 256  # ours: nodes serve some 10 to 30
IDENTIFY_PROTOCOL_CHARS_MAX = 256  # ours
IDENTIFY_ADDRS_MAX = 16  # ours: kept per peer
IDENTIFY_STREAMS_IN_MAX = 8  # ours: identify and identify-push, of one peer
AGENT_VERSION_CHARS_MAX = 128  # ours
CONNECTED_ADDRS_TTL_S = 1800.0  # go-libp2p, peerstore.go: RecentlyConnectedAddrTTL is 15 min
ADDRESS_BOOK_PEERS_MAX = 16_384  # ours: at 16 addresses of 24 bytes about 20 MB
INTERFACES_POLL_S = 60.0  # ours: how soon a new own address is noticed
DNSADDR_DEPTH_MAX = 4  # ours: go-multiaddr-dns resolves 32 deep
DNS_RESULTS_MAX = 32  # ours: addresses that one name may stand for
DNS_TIMEOUT_S = 10.0  # ours

# --- host: autonat --------------------------------------------------------------------------------------
AUTONAT_BYTES_MAX = 4 << 10  # go-libp2p, autonat/proto.go: maxMsgSize
AUTONAT_DIAL_S = 15.0  # go-libp2p, autonat/options.go: dialTimeout
AUTONAT_PERIOD_S = 60.0  # go-libp2p, autonat/options.go: throttleResetPeriod
AUTONAT_DIALS_MAX = 30  # go-libp2p, autonat/options.go: throttleGlobalMax, within that period
AUTONAT_DIALS_PER_PEER_MAX = 3  # go-libp2p, autonat/options.go: throttlePeerMax
AUTONAT_ADDRS_MAX = 4  # ours: tried for one peer; one IP address has few ports
AUTONAT_STREAMS_IN_MAX = 2  # ours: of one peer
AUTONAT_TEXT_CHARS_MAX = 200  # ours: of a status text, sent and received

# --- bootstrap ----------------------------------------------------------------------------------------
BOOTSTRAP_PAUSE_S = 1.0  # ours: first pause between rounds while the table is empty; doubles
WALK_PAUSE_GROWTH = 3  # ours: of the pause between walks to our own key
BOOTSTRAP_PAUSE_S_MAX = 60.0  # ours
BOOTSTRAP_DIAL_S = 15.0  # ours: one address, names resolved, handshake and identify included
JOIN_PATIENCE_S = 2.0  # ours: how long operations wait for the rest of the first join
LOW_PEERS = 10  # go-libp2p-kad-dht, dht.go: minRTRefreshThreshold
LOW_PEERS_INTERVAL_S = 120.0  # go-libp2p-kad-dht, dht.go: periodicBootstrapInterval
WALK_CHANGES_SHARE = 0.25  # ours: of our k closest; when so many came or went we walk to our own key
WALK_TIMEOUT_S = 60.0  # go-libp2p-kad-dht refreshes within 10 s per query; ours covers dead peers too
SNAPSHOT_PEERS_MAX = 256  # ours: candidates for the next start
SNAPSHOT_PAUSE_S = 1.0  # ours: from the first peer's joining until the table is remembered; doubles
SNAPSHOT_INTERVAL_S = 300.0  # ours: a crash loses at most this much of the table's news

# --- repair -------------------------------------------------------------------------------------------
REPAIR_INTERVAL_S = 3600.0  # rust-libp2p, kad behaviour.rs: record replication interval
REPAIR_JOIN_S = 5.0  # ours: until a node that starts has met those that share its records
REPAIR_BATCH_S = 0.25  # ours: how long records that come in wait for their put to reach its other holders
REPAIR_CHANGES_S = 0.05  # ours: changes of the table that come together are looked at together
REPAIR_TURN_S = 1.0  # ours: how long the holder of the next rank waits for the one before it
REPAIR_RETRY_S = 30.0  # ours: a peer that did not take a copy is tried again
REPAIR_SCAN_PAUSES = 9.0  # ours: a scan of all records may take a tenth of the time
REPAIRS_AT_ONCE = 32  # ours: most wait for an answer; the budget bounds what they spend
REPAIR_BURST_S = 4.0  # ours: unspent budget that may be used at once
REPAIR_QUESTION_BYTES = 1024  # ours: what a GET_VALUE costs without its value
REPAIR_SCAN_SLICE = 100  # ours: records looked at between two checkpoints
HAND_OVERS_AT_ONCE = 16  # ours

# --- maintenance --------------------------------------------------------------------------------------
REFRESH_TICK_S = 60.0  # ours: the longest time before due refreshes are looked for
EXPIRY_INTERVAL_S = 600.0  # ours: reads check the age themselves; go sweeps daily
REPUBLISH_RETRY_S = 60.0  # ours: before a republish that failed is tried again
REPUBLISH_TICK_S = 60.0  # ours: the longest time before due republishes are looked for
REPROVIDE_GONE_SHARE = 1 / 3  # ours: of the peers that were told; by then the others are told
REPROVIDE_INTERVAL_S_MIN = 600.0  # ours: however fast peers depart
REPROVIDE_CHANGE_MIN = 1.25  # ours: a ratio of intervals; smaller changes are not worth a new schedule
REPROVIDE_TICK_S = 60.0  # ours: the longest time before the schedule is looked at
REPROVIDES_PER_S = 10.0  # ours: provider records that are overdue; each is k messages
OPTIMISTIC_CERTAINTY = 0.9  # go-libp2p-kad-dht, lookup_optim.go: optProvIndividualThresholdCertainty
OPTIMISTIC_RETURN_SHARE = (
    0.5  # ours: go's 0.75 of k are rarely likely before its lookup ends, which it ends early
)
SWEEP_KEYS_MAX = 512  # ours: keys taken from the schedule at a time, neighbours in the keyspace
SWEEP_KEYS_AT_ONCE = 16  # ours: of those, keys whose closest peers are being told
SWEEP_LOOKUPS_AT_ONCE = 4  # go-libp2p-kad-dht, provider/options.go: defaultMaxWorkers
SWEEP_AHEAD_SHARE = 1 / 64  # ours: of the interval; a key may be announced so much before its time
STOP_TIMEOUT_S = 2.0  # ours: the engine's last writes when it is closed
MDNS_NAMES_MAX = 256  # ours: announcements heard and not yet looked at

# --- doctor -------------------------------------------------------------------------------------------
DOCTOR_DIAL_S = BOOTSTRAP_DIAL_S  # each bootstrap address by itself
DOCTOR_TIMEOUT_S = 60.0  # ours: all checks of a running node, side by side
DOCTOR_ROUND_TRIP_S = 30.0  # ours: a put and a get of the node's own record
DOCTOR_ROUND_TRIP_SLOW_S = 5.0  # ours: p95 of 20 loaded nodes is 0.2 s (docs/measured)
DOCTOR_RECORD_TTL_S = 600.0  # ours: the life of that record
DOCTOR_TABLE_SHARE_MIN = 0.5  # ours: of the peers that a table should have for the estimated network
DOCTOR_DESCRIPTORS_SPARE = 256  # ours: store, control clients and dials beside the connections
DOCTOR_MEMORY_BYTES_USUAL = 512 << 20  # ours: 84 MB with 50 peers, 310 MB under attack
DOCTOR_CLOCK_OFF_S = 5.0  # ours: well under WRITER_TIME_AHEAD_S_MAX
DOCTOR_DIAL_BACKS = 3  # ours: peers that are asked to dial this node
DOCTOR_DIAL_BACK_S = 20.0  # ours: over AUTONAT_DIAL_S
DOCTOR_LISTENER_S = 2.0  # ours: this machine answers itself at once or not at all
