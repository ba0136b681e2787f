package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/boxo/path"
	"github.com/ipfs/go-cid"
	kaddht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"
)

// identity derives an Ed25519 key from `seed` exactly as the js peer does; other types are random.
func identity(keyType string, seed int64) (crypto.PrivKey, error) {
	if seed >= 0 {
		if keyType != "ed25519" {
			return nil, errors.New("only an ed25519 identity can come from a seed")
		}
		digest := sha256.Sum256(fmt.Appendf(nil, "primedht-interop-%d", seed))
		return crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(digest[:]))
	}
	types := map[string]int{
		"ed25519": crypto.Ed25519, "rsa": crypto.RSA, "secp256k1": crypto.Secp256k1, "ecdsa": crypto.ECDSA,
	}
	kind, known := types[keyType]
	if !known {
		return nil, fmt.Errorf("unknown key type %q", keyType)
	}
	key, _, err := crypto.GenerateKeyPairWithReader(kind, 2048, rand.Reader)
	return key, err
}

func (n *node) handle(ctx context.Context, req *request) (reply, error) {
	switch req.Op {
	case "peers":
		return n.peers(), nil
	case "connect":
		return nil, n.connect(ctx, req.Addr)
	case "set_mode":
		return nil, n.setMode(ctx, req.Mode)
	case "closest_peers":
		ids, err := n.dht.GetClosestPeers(ctx, string(req.Key))
		return reply{"peers": peerStrings(ids)}, err
	case "put":
		return nil, n.dht.PutValue(ctx, string(req.Key), req.Value)
	case "get":
		return n.get(ctx, req)
	case "local_record":
		record, err := n.values.Get(ctx, string(req.Key))
		if err != nil || record == nil {
			return reply{"value": nil}, err
		}
		return reply{"value": record.GetValue(), "time_received": record.GetTimeReceived()}, nil
	case "provide", "find_providers", "local_providers":
		return n.providers(ctx, req)
	case "publish_pk":
		return n.publishPublicKey(ctx)
	case "make_ipns":
		return n.makeIPNS(req)
	case "gather":
		return n.gather(ctx, req)
	case "disperse":
		n.disperse()
		return nil, nil
	case "add_file", "fetch":
		return n.exchangeBlocks(ctx, req)
	case "dial":
		return n.dial(ctx, req)
	}

	// Everything else is about one peer.
	id, err := peer.Decode(req.Peer)
	if err != nil {
		return nil, fmt.Errorf("op %q, peer %q: %w", req.Op, req.Peer, err)
	}
	switch req.Op {
	case "disconnect":
		return nil, n.host.Network().ClosePeer(id)
	case "ping":
		result := <-ping.Ping(ctx, n.host, id)
		return reply{"rtt_ms": float64(result.RTT) / float64(time.Millisecond)}, result.Error
	case "identify":
		return n.identify(ctx, id)
	case "find_peer":
		info, err := n.dht.FindPeer(ctx, id)
		return reply{"addrs": addrStrings(info.Addrs)}, err
	case "raw_request":
		return n.rawRequest(ctx, id, req)
	case "hold_stream":
		return nil, n.holdStream(ctx, id, req.Protocol)
	case "echo":
		return n.echo(ctx, id, req)
	case "sink":
		return n.sink(ctx, id, req)
	case "calls":
		return n.calls(ctx, id, req)
	case "together":
		return n.together(ctx, id, req)
	case "abandon":
		return n.abandon(ctx, id, req)
	case "load":
		return n.load(ctx, id, req)
	case "bulk":
		return n.bulk(ctx, id, req)
	}
	return nil, fmt.Errorf("unknown op %q", req.Op)
}

func (n *node) peers() reply {
	return reply{
		"connected": peerStrings(n.host.Network().Peers()),
		"table":     peerStrings(n.dht.RoutingTable().ListPeers()),
	}
}

func (n *node) connect(ctx context.Context, addr string) error {
	info, err := peer.AddrInfoFromString(addr)
	if err != nil {
		return err
	}
	// A test that dials again at once must not meet the back-off of its first try.
	if network, ok := n.host.Network().(*swarm.Swarm); ok {
		network.Backoff().Clear(info.ID)
	}
	return n.host.Connect(ctx, *info)
}

func (n *node) setMode(ctx context.Context, mode string) error {
	reachability := network.ReachabilityPrivate
	if mode == "server" {
		reachability = network.ReachabilityPublic
	}
	if err := n.emit.Emit(event.EvtLocalReachabilityChanged{Reachability: reachability}); err != nil {
		return err
	}
	return n.awaitMode(ctx, mode)
}

// identify reports what the peerstore holds, so also what a later identify push changed.
func (n *node) identify(ctx context.Context, id peer.ID) (reply, error) {
	store := n.host.Peerstore()
	err := poll(ctx, func() bool {
		protocols, err := store.GetProtocols(id)
		return err == nil && len(protocols) > 0
	})
	if err != nil {
		return nil, fmt.Errorf("not identified: %w", err)
	}
	protocols, err := store.GetProtocols(id)
	if err != nil {
		return nil, err
	}
	text := func(key string) string {
		value, _ := store.Get(id, key)
		s, _ := value.(string)
		return s
	}
	return reply{
		"protocols": protocols, "addrs": addrStrings(store.Addrs(id)),
		"agent": text("AgentVersion"), "protocol_version": text("ProtocolVersion"),
	}, nil
}

func (n *node) get(ctx context.Context, req *request) (reply, error) {
	var options []routing.Option
	if req.Quorum > 0 {
		options = append(options, kaddht.Quorum(req.Quorum))
	}
	value, err := n.dht.GetValue(ctx, string(req.Key), options...)
	if errors.Is(err, routing.ErrNotFound) {
		return reply{"value": nil}, nil
	}
	return reply{"value": value}, err
}

func (n *node) providers(ctx context.Context, req *request) (reply, error) {
	key := cid.NewCidV1(cid.Raw, multihash.Multihash(req.Multihash))
	if len(req.CID) > 0 {
		parsed, err := cid.Cast(req.CID)
		if err != nil {
			return nil, err
		}
		key = parsed
	}
	switch req.Op {
	case "provide":
		return nil, n.dht.Provide(ctx, key, true)
	case "local_providers":
		infos, err := n.dht.ProviderStore().GetProviders(ctx, key.Hash())
		return reply{"providers": infoReplies(infos)}, err
	}
	infos := []peer.AddrInfo{}
	for info := range n.dht.FindProvidersAsync(ctx, key, req.Count) {
		infos = append(infos, info)
	}
	return reply{"providers": infoReplies(infos)}, nil
}

func (n *node) publishPublicKey(ctx context.Context) (reply, error) {
	value, err := crypto.MarshalPublicKey(n.key.GetPublic())
	if err != nil {
		return nil, err
	}
	key := routing.KeyForPublicKey(n.host.ID())
	return reply{"key": []byte(key), "value": value}, n.dht.PutValue(ctx, key, value)
}

func (n *node) makeIPNS(req *request) (reply, error) {
	target, err := path.NewPath(string(req.Value))
	if err != nil {
		return nil, err
	}
	expires := time.Now().Add(time.Duration(req.LifetimeS * float64(time.Second)))
	record, err := ipns.NewRecord(n.key, target, req.Seq, expires, time.Minute)
	if err != nil {
		return nil, err
	}
	data, err := ipns.MarshalRecord(record)
	return reply{"key": ipns.NameFromPeer(n.host.ID()).RoutingKey(), "record": data}, err
}

func peerStrings(ids []peer.ID) []string {
	texts := []string{}
	for _, id := range ids {
		texts = append(texts, id.String())
	}
	return texts
}

func addrStrings(addrs []multiaddr.Multiaddr) []string {
	texts := []string{}
	for _, addr := range addrs {
		texts = append(texts, addr.String())
	}
	return texts
}

func infoReplies(infos []peer.AddrInfo) []reply {
	replies := []reply{}
	for _, info := range infos {
		replies = append(replies, reply{"id": info.ID.String(), "addrs": addrStrings(info.Addrs)})
	}
	return replies
}
