package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"google.golang.org/protobuf/proto"
)

// What the benchmarks need: many small hosts, and work at full speed from this one process.

const (
	retryPause     = 10 * time.Millisecond
	connectAtOnce  = 4
	findNodeKeyLen = 32
)

// plainHost is a host without a DHT; without an address to listen on, it only dials.
func plainHost(listen ...string) (host.Host, error) {
	addrs := libp2p.NoListenAddrs
	if len(listen) > 0 {
		addrs = libp2p.ListenAddrStrings(listen...)
	}
	return libp2p.New(
		addrs,
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.ConnectionManager(&connmgr.NullConnMgr{}),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
	)
}

// gather makes a crowd of `req.Count` small DHT servers that connect to `req.Addr` and ask it once, so that it
// takes them into its routing table. They stay; `load` may use them as its clients.
func (n *node) gather(ctx context.Context, req *request) (reply, error) {
	info, err := peer.AddrInfoFromString(req.Addr)
	if err != nil {
		return nil, err
	}
	err = parallel(req.Count, connectAtOnce, func(int) error {
		member, err := plainHost("/ip4/127.0.0.1/tcp/0")
		if err != nil {
			return err
		}
		member.SetStreamHandler(protocol.ID(req.Protocol), func(s network.Stream) { answerWithSelf(member, s) })
		if err := member.Connect(ctx, *info); err != nil {
			return err
		}
		one := worker{host: member, to: info.ID, protocol: protocol.ID(req.Protocol), kind: pb.Message_FIND_NODE}
		if err := one.ask(ctx); err != nil {
			return err
		}
		one.close()
		n.mu.Lock()
		defer n.mu.Unlock()
		n.crowd = append(n.crowd, member)
		return nil
	})
	return reply{"count": len(n.crowd)}, err
}

// disperse closes the crowd.
func (n *node) disperse() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, member := range n.crowd {
		_ = member.Close()
	}
	n.crowd = nil
}

// answerWithSelf is the least that DHTs take for a server: it knows one peer, itself.
func answerWithSelf(h host.Host, stream network.Stream) {
	defer stream.Close()
	reader := bufio.NewReader(stream)
	for {
		frame, err := readFrame(reader)
		if err != nil {
			return
		}
		var question pb.Message
		if proto.Unmarshal(frame, &question) != nil {
			_ = stream.Reset()
			return
		}
		answer := pb.NewMessage(question.Type, question.Key, 0)
		answer.CloserPeers = pb.RawPeerInfosToPBPeers([]peer.AddrInfo{{ID: h.ID(), Addrs: h.Addrs()}})
		body, err := proto.Marshal(answer)
		if err == nil {
			_, err = stream.Write(append(binary.AppendUvarint(nil, uint64(len(body))), body...))
		}
		if err != nil {
			return
		}
	}
}

// worker asks one request after another, on one stream or on a new one each.
type worker struct {
	host     host.Host
	to       peer.ID
	protocol protocol.ID
	kind     pb.Message_MessageType
	key      []byte // random for each request when nil
	fresh    bool

	stream  network.Stream
	reader  *bufio.Reader
	answer  []byte
	took    []time.Duration
	failed  int
	failure error
}

func (w *worker) request() []byte {
	key := w.key
	if key == nil {
		key = make([]byte, findNodeKeyLen)
		_, _ = rand.Read(key)
	}
	body := append([]byte{0x08, byte(w.kind), 0x12, byte(len(key))}, key...)
	return append(binary.AppendUvarint(nil, uint64(len(body))), body...)
}

func (w *worker) ask(ctx context.Context) error {
	if w.stream == nil {
		stream, err := w.host.NewStream(ctx, w.to, w.protocol)
		if err != nil {
			return err
		}
		if deadline, ok := ctx.Deadline(); ok {
			_ = stream.SetDeadline(deadline)
		}
		w.stream, w.reader = stream, bufio.NewReader(stream)
	}
	_, err := w.stream.Write(w.request())
	if err == nil {
		w.answer, err = readFrame(w.reader)
	}
	if err != nil {
		_ = w.stream.Reset()
		w.stream = nil
		return err
	}
	if w.fresh {
		w.close()
	}
	return nil
}

func (w *worker) close() {
	if w.stream != nil {
		_ = w.stream.Close()
		w.stream = nil
	}
}

// run asks at least once, however late it got its turn.
func (w *worker) run(ctx context.Context, until time.Time) {
	defer w.close()
	for more := true; more; more = time.Now().Before(until) {
		began := time.Now()
		if err := w.ask(ctx); err != nil {
			w.failed++
			w.failure = err
			time.Sleep(retryPause)
			continue
		}
		w.took = append(w.took, time.Since(began))
	}
}

// load asks for `req.Seconds` with `req.Streams` requests at once, spread over `req.Clients` members of
// the crowd, or from this host.
func (n *node) load(ctx context.Context, id peer.ID, req *request) (reply, error) {
	kind, known := pb.Message_MessageType_value[req.Kind]
	if !known {
		return nil, fmt.Errorf("unknown kind of request %q", req.Kind)
	}
	if req.Clients > len(n.crowd) {
		return nil, fmt.Errorf("%d clients wanted of a crowd of %d", req.Clients, len(n.crowd))
	}
	workers := make([]worker, req.Streams)
	for i := range workers {
		workers[i] = worker{
			host: n.host, to: id, protocol: protocol.ID(req.Protocol),
			kind: pb.Message_MessageType(kind), key: req.Key, fresh: req.Fresh,
		}
		if req.Clients > 0 {
			workers[i].host = n.crowd[i%req.Clients]
		}
	}
	cpu, began := processCPU(), time.Now()
	until := began.Add(time.Duration(req.Seconds * float64(time.Second)))
	_ = parallel(len(workers), len(workers), func(i int) error {
		workers[i].run(ctx, until)
		return nil
	})
	seconds := time.Since(began).Seconds()
	cpu = processCPU() - cpu

	var took []time.Duration
	failures, failure := 0, ""
	for i := range workers {
		took = append(took, workers[i].took...)
		failures += workers[i].failed
		if workers[i].failure != nil {
			failure = workers[i].failure.Error()
		}
	}
	if len(took) == 0 {
		return nil, fmt.Errorf("not one request was answered: %s", failure)
	}
	slices.Sort(took)
	last := workers[0].answer
	var answer pb.Message
	if err := proto.Unmarshal(last, &answer); err != nil {
		return nil, err
	}
	return reply{
		"requests": len(took), "failures": failures, "failure": failure,
		"seconds": seconds, "cpu_s": cpu.Seconds(),
		"p50_ms": milliseconds(took[len(took)/2]), "p99_ms": milliseconds(took[len(took)*99/100]),
		"answer_bytes": len(last), "peers_n": len(answer.CloserPeers),
		"value_bytes": len(answer.GetRecord().GetValue()),
	}, nil
}

// bulk moves `req.BytesN` bytes over `req.Streams` streams: to the discard protocol, or from the source.
func (n *node) bulk(ctx context.Context, id peer.ID, req *request) (reply, error) {
	each := int64(req.BytesN / req.Streams)
	cpu, began := processCPU(), time.Now()
	err := parallel(req.Streams, req.Streams, func(int) error {
		stream, err := n.openStream(ctx, id, req.Protocol)
		if err != nil {
			return err
		}
		if err := move(stream, req.Protocol, each, max(req.Chunk, 1)); err != nil {
			_ = stream.Reset()
			return err
		}
		return stream.Close()
	})
	return reply{
		"bytes_n": each * int64(req.Streams), "seconds": time.Since(began).Seconds(),
		"cpu_s": (processCPU() - cpu).Seconds(),
	}, err
}

func move(stream network.Stream, name string, size int64, chunk int) error {
	count := binary.BigEndian.AppendUint64(nil, uint64(size))
	if name == sourceProtocol {
		if _, err := stream.Write(count); err != nil {
			return err
		}
		received, err := io.Copy(io.Discard, stream)
		if err == nil && received != size {
			err = fmt.Errorf("%d of %d bytes came", received, size)
		}
		return err
	}
	if err := writeZeros(stream, size, chunk); err != nil {
		return err
	}
	if err := stream.CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(stream)
	if err == nil && string(answer) != string(count) {
		err = fmt.Errorf("answered %x, not %x", answer, count)
	}
	return err
}

func writeZeros(stream io.Writer, size int64, chunk int) error {
	for piece := make([]byte, chunk); size > 0; size -= int64(len(piece)) {
		if size < int64(len(piece)) {
			piece = piece[:size]
		}
		if _, err := stream.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// dial connects and disconnects for `req.Seconds`, with `req.Streams` hosts of its own at once. A
// connection counts when it is set up and both sides have identified each other.
func (n *node) dial(ctx context.Context, req *request) (reply, error) {
	info, err := peer.AddrInfoFromString(req.Addr)
	if err != nil {
		return nil, err
	}
	dialers := make([]host.Host, req.Streams)
	for i := range dialers {
		if dialers[i], err = plainHost(); err != nil {
			return nil, err
		}
		defer dialers[i].Close()
	}
	cpu, began := processCPU(), time.Now()
	until := began.Add(time.Duration(req.Seconds * float64(time.Second)))
	var mu sync.Mutex
	connections, failures, failure := 0, 0, ""
	_ = parallel(len(dialers), len(dialers), func(i int) error {
		for more := true; more; more = time.Now().Before(until) {
			err := dialers[i].Connect(ctx, *info)
			if err == nil {
				err = dialers[i].Network().ClosePeer(info.ID)
			}
			mu.Lock()
			if err != nil {
				failures++
				failure = err.Error()
			} else {
				connections++
			}
			mu.Unlock()
			if err != nil {
				dialers[i].Network().(*swarm.Swarm).Backoff().Clear(info.ID)
				time.Sleep(retryPause)
			}
		}
		return nil
	})
	if connections == 0 {
		return nil, fmt.Errorf("not one connection: %s", failure)
	}
	return reply{
		"connections": connections, "failures": failures, "failure": failure,
		"seconds": time.Since(began).Seconds(), "cpu_s": (processCPU() - cpu).Seconds(),
	}, nil
}

// parallel runs `work(0)` to `work(count - 1)`, `atOnce` of them at a time, and joins their errors.
func parallel(count, atOnce int, work func(int) error) error {
	errs := make([]error, count)
	places := make(chan struct{}, max(atOnce, 1))
	var running sync.WaitGroup
	for i := range count {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			errs[i] = work(i)
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

func processCPU() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func milliseconds(d time.Duration) float64 {
	return float64(d) / float64(time.Millisecond)
}
