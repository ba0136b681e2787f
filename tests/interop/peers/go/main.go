// A go-libp2p peer with the reference Kademlia DHT, driven by JSON lines (see ../README.md).
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	datastore "github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/libp2p/go-libp2p"
	kaddht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"

	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

type flags struct {
	prefix, mode, listen, keyType, psk string
	validators, bitswap                []string
	seed                               int64
	tls                                bool
	lifetimeS, refreshS                float64
}

// node is the peer under control: a host, its DHT, and what an operation needs besides them.
type node struct {
	host     host.Host
	key      crypto.PrivKey
	dht      *kaddht.IpfsDHT
	values   *records.ValueStore // a second view of the DHT's datastore: its own is not exported
	protocol protocol.ID
	emit     event.Emitter // reachability events, the only handle on the DHT's mode

	mu    sync.Mutex
	held  []network.Stream
	crowd []host.Host

	blocks *blocks // nil without --bitswap
}

func main() {
	var f flags
	flag.StringVar(&f.prefix, "prefix", "/ipfs", "protocol prefix, before /kad/1.0.0")
	flag.StringVar(&f.mode, "mode", "server", "server or client")
	flag.StringVar(&f.listen, "listen", "/ip4/127.0.0.1/tcp/0", "listen address")
	flag.StringVar(&f.keyType, "key-type", "ed25519", "ed25519, rsa, secp256k1 or ecdsa")
	flag.Int64Var(&f.seed, "seed", -1, "seed of an Ed25519 identity; negative: a random one")
	flag.StringVar(&f.psk, "psk", "", "file of a pre-shared key")
	flag.BoolVar(&f.tls, "tls", false, "offer TLS after Noise")
	flag.Float64Var(&f.lifetimeS, "lifetime-s", 600, "exit after this many seconds")
	flag.Float64Var(&f.refreshS, "refresh-s", 10, "routing table refresh period")
	flag.Func("validator", "namespace that accepts any value (repeatable)", func(name string) error {
		f.validators = append(f.validators, name)
		return nil
	})
	flag.Func("bitswap", "version of bitswap to speak (repeatable, newest first)", func(version string) error {
		f.bitswap = append(f.bitswap, version)
		return nil
	})
	flag.Parse()

	time.AfterFunc(time.Duration(f.lifetimeS*float64(time.Second)), func() {
		fmt.Fprintln(os.Stderr, "lifetime over")
		os.Exit(3)
	})
	n, err := start(f)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot start:", err)
		os.Exit(1)
	}
	n.serve(os.Stdin, os.Stdout)
	n.close()
}

func start(f flags) (*node, error) {
	key, err := identity(f.keyType, f.seed)
	if err != nil {
		return nil, err
	}
	mode, reachability := kaddht.ModeAutoServer, libp2p.ForceReachabilityPublic()
	switch f.mode {
	case "server":
	case "client":
		mode, reachability = kaddht.ModeAuto, libp2p.ForceReachabilityPrivate()
	default:
		return nil, fmt.Errorf("unknown mode %q", f.mode)
	}
	options := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.ListenAddrStrings(f.listen),
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.ConnectionManager(&connmgr.NullConnMgr{}),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.UserAgent("primedht-interop-go"),
		libp2p.ProtocolVersion("ipfs/0.1.0"), // as kubo and js say
		reachability,
	}
	if f.tls {
		options = append(options, libp2p.Security(libp2ptls.ID, libp2ptls.New))
	}
	if f.psk != "" {
		file, err := os.Open(f.psk)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		psk, err := pnet.DecodeV1PSK(file)
		if err != nil {
			return nil, err
		}
		options = append(options, libp2p.PrivateNetwork(psk))
	}
	h, err := libp2p.New(options...)
	if err != nil {
		return nil, err
	}

	store := dssync.MutexWrap(datastore.NewMapDatastore())
	dhtOptions := []kaddht.Option{
		kaddht.ProtocolPrefix(protocol.ID(f.prefix)),
		kaddht.Mode(mode),
		kaddht.Datastore(store),
		kaddht.RoutingTableRefreshPeriod(time.Duration(f.refreshS * float64(time.Second))),
	}
	for _, name := range f.validators {
		dhtOptions = append(dhtOptions, kaddht.NamespacedValidator(name, anyValue{}))
	}
	dht, err := kaddht.New(h, dhtOptions...)
	if err != nil {
		return nil, err
	}
	emit, err := h.EventBus().Emitter(new(event.EvtLocalReachabilityChanged))
	if err != nil {
		return nil, err
	}
	n := &node{
		host: h, key: key, dht: dht, emit: emit,
		values:   records.NewValueStore(store, anyValue{}, 0),
		protocol: protocol.ID(f.prefix) + "/kad/1.0.0",
	}
	// The mode arrives as an event of the forced reachability, so a moment after New.
	if err := n.awaitMode(context.Background(), f.mode); err != nil {
		return nil, err
	}
	serveStreams(h)
	serveResets(h)
	if len(f.bitswap) > 0 {
		n.serveBlocks(f.bitswap)
	}
	return n, nil
}

func (n *node) close() {
	n.disperse()
	if n.blocks != nil {
		_ = n.blocks.exchange.Close()
	}
	_ = n.dht.Close()
	_ = n.host.Close()
}

// anyValue accepts every record and prefers the greater value, byte by byte.
type anyValue struct{}

func (anyValue) Validate(string, []byte) error { return nil }

func (anyValue) Select(_ string, values [][]byte) (int, error) {
	best := 0
	for i, value := range values {
		if bytes.Compare(value, values[best]) > 0 {
			best = i
		}
	}
	return best, nil
}

type request struct {
	ID        int64  `json:"id"`
	Op        string `json:"op"`
	TimeoutMS int64  `json:"timeout_ms"`

	Addr     string `json:"addr"`
	Peer     string `json:"peer"`
	Protocol string `json:"protocol"`
	Mode     string `json:"mode"`

	Key       []byte `json:"key"`
	Value     []byte `json:"value"`
	CID       []byte `json:"cid"`
	Multihash []byte `json:"multihash"`
	Quorum    int    `json:"quorum"`
	Count     int    `json:"count"`

	Frames     [][]byte `json:"frames_b64"`
	Raw        []byte   `json:"raw_b64"`
	HalfClose  bool     `json:"half_close"`
	ReadFrames int      `json:"read_frames"`

	BytesN int `json:"bytes_n"`
	Chunk  int `json:"chunk"`

	Kind    string  `json:"kind"`
	Streams int     `json:"streams"`
	Clients int     `json:"clients"`
	Fresh   bool    `json:"fresh"`
	Seconds float64 `json:"seconds"`

	Seq       uint64  `json:"seq"`
	LifetimeS float64 `json:"lifetime_s"`

	Path    string `json:"path"`
	Profile string `json:"profile"`
}

// reply holds the fields of an answer; `[]byte` becomes base64, and null when nil.
type reply map[string]any

// serve answers requests, each in its own goroutine, until input ends or one says stop.
func (n *node) serve(input io.Reader, output io.Writer) {
	var mu sync.Mutex
	encoder := json.NewEncoder(output)
	write := func(message reply) {
		mu.Lock()
		defer mu.Unlock()
		_ = encoder.Encode(message)
	}
	write(reply{"event": "ready", "peer_id": n.host.ID().String(), "addrs": n.fullAddrs()})

	reader := bufio.NewReader(input)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			return
		}
		req := request{TimeoutMS: 30_000}
		if err := json.Unmarshal(line, &req); err != nil {
			write(reply{"id": req.ID, "ok": false, "error": err.Error()})
			continue
		}
		if req.Op == "stop" {
			write(reply{"id": req.ID, "ok": true})
			return
		}
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(req.TimeoutMS)*time.Millisecond)
			defer cancel()
			answer, err := n.handle(ctx, &req)
			if err != nil {
				write(reply{"id": req.ID, "ok": false, "error": err.Error()})
				return
			}
			if answer == nil {
				answer = reply{}
			}
			answer["id"], answer["ok"] = req.ID, true
			write(answer)
		}()
	}
}

func (n *node) fullAddrs() []string {
	addrs := []string{}
	for _, addr := range n.host.Addrs() {
		addrs = append(addrs, addr.String()+"/p2p/"+n.host.ID().String())
	}
	return addrs
}

func (n *node) awaitMode(ctx context.Context, mode string) error {
	if mode != "server" && mode != "client" {
		return fmt.Errorf("unknown mode %q", mode)
	}
	return poll(ctx, func() bool {
		served := false
		for _, id := range n.host.Mux().Protocols() {
			served = served || id == n.protocol
		}
		return served == (mode == "server")
	})
}

func poll(ctx context.Context, done func() bool) error {
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}
