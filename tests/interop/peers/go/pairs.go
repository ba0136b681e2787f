package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// What every pairing of implementations has to stand, beside echo and sink.

const (
	resetProtocol = "/test/reset/1.0.0"
	abandonedSize = 100_000
)

// serveResets reads something of each stream, and resets it.
func serveResets(h host.Host) {
	h.SetStreamHandler(resetProtocol, func(s network.Stream) {
		_, _ = s.Read(make([]byte, 1))
		_ = s.Reset()
	})
}

func message(number int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%09d ", number), 10)
}

// calls has `req.Count` messages of 100 bytes echoed, `req.Streams` at a time.
func (n *node) calls(ctx context.Context, id peer.ID, req *request) (reply, error) {
	each := req.Count / req.Streams
	err := parallel(req.Streams, req.Streams, func(worker int) error {
		var stream network.Stream
		for i := range each {
			if stream == nil {
				var err error
				if stream, err = n.openStream(ctx, id, req.Protocol); err != nil {
					return err
				}
			}
			if err := call(stream, message(worker*each+i)); err != nil {
				_ = stream.Reset()
				return err
			}
			if req.Fresh {
				_ = stream.Close()
				stream = nil
			}
		}
		if stream != nil {
			return stream.Close()
		}
		return nil
	})
	return reply{"count": each * req.Streams}, err
}

func call(stream network.Stream, wanted []byte) error {
	if _, err := stream.Write(wanted); err != nil {
		return err
	}
	got := make([]byte, len(wanted))
	if _, err := io.ReadFull(stream, got); err != nil {
		return err
	}
	if !bytes.Equal(got, wanted) {
		return fmt.Errorf("%q came back for %q", got, wanted)
	}
	return nil
}

// together has `req.Count` streams open at the same moment; each works before and after that, and ends.
func (n *node) together(ctx context.Context, id peer.ID, req *request) (reply, error) {
	var open sync.WaitGroup
	open.Add(req.Count)
	err := parallel(req.Count, req.Count, func(i int) error {
		stream, err := n.openStream(ctx, id, req.Protocol)
		if err == nil {
			err = call(stream, message(i))
		}
		open.Done()
		if err != nil {
			return err
		}
		open.Wait()
		if err := call(stream, message(-i)); err != nil {
			return err
		}
		if err := stream.CloseWrite(); err != nil {
			return err
		}
		rest, err := io.ReadAll(stream)
		if err == nil && len(rest) > 0 {
			err = errors.New("more came back than was sent")
		}
		return err
	})
	return reply{"count": req.Count}, err
}

// abandon writes to `req.Count` streams and resets them; then one more must work.
func (n *node) abandon(ctx context.Context, id peer.ID, req *request) (reply, error) {
	for range req.Count {
		stream, err := n.openStream(ctx, id, req.Protocol)
		if err != nil {
			return nil, err
		}
		if _, err := stream.Write(make([]byte, abandonedSize)); err != nil {
			return nil, err
		}
		_ = stream.Reset()
	}
	return n.calls(ctx, id, &request{Protocol: req.Protocol, Count: 1, Streams: 1})
}
