package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

const (
	echoProtocol    = "/test/echo/1.0.0"
	sinkProtocol    = "/test/sink/1.0.0"
	discardProtocol = "/test/discard/1.0.0"
	sourceProtocol  = "/test/source/1.0.0"
	frameBytesMax   = 16 << 20
	sourceChunk     = 64 << 10
)

// serveStreams answers the test protocols: echo; sink (8-byte count, then SHA-256); for benchmarks
// discard, a sink that only counts, and source, which sends as many bytes as 8 bytes ask for.
func serveStreams(h host.Host) {
	h.SetStreamHandler(echoProtocol, func(s network.Stream) {
		if _, err := io.Copy(s, s); err != nil {
			_ = s.Reset()
			return
		}
		_ = s.Close()
	})
	h.SetStreamHandler(sinkProtocol, func(s network.Stream) {
		digest := sha256.New()
		count, err := io.Copy(digest, s)
		if err == nil {
			answer := binary.BigEndian.AppendUint64(nil, uint64(count))
			_, err = s.Write(digest.Sum(answer))
		}
		if err != nil {
			_ = s.Reset()
			return
		}
		_ = s.Close()
	})
	h.SetStreamHandler(discardProtocol, func(s network.Stream) {
		count, err := io.Copy(io.Discard, s)
		if err == nil {
			_, err = s.Write(binary.BigEndian.AppendUint64(nil, uint64(count)))
		}
		if err != nil {
			_ = s.Reset()
			return
		}
		_ = s.Close()
	})
	h.SetStreamHandler(sourceProtocol, func(s network.Stream) {
		var count [8]byte
		_, err := io.ReadFull(s, count[:])
		if err == nil {
			err = writeZeros(s, int64(binary.BigEndian.Uint64(count[:])), sourceChunk)
		}
		if err != nil {
			_ = s.Reset()
			return
		}
		_ = s.Close()
	})
}

func (n *node) openStream(ctx context.Context, id peer.ID, name string) (network.Stream, error) {
	stream, err := n.host.NewStream(ctx, id, protocol.ID(name))
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = stream.SetDeadline(deadline)
	}
	return stream, nil
}

// rawRequest reports the frames that came and how the stream stood after the last one.
func (n *node) rawRequest(ctx context.Context, id peer.ID, req *request) (reply, error) {
	stream, err := n.openStream(ctx, id, req.Protocol)
	if err != nil {
		return nil, err
	}
	var output []byte
	for _, frame := range req.Frames {
		output = binary.AppendUvarint(output, uint64(len(frame)))
		output = append(output, frame...)
	}
	output = append(output, req.Raw...)

	frames := [][]byte{}
	_, err = stream.Write(output)
	if err == nil && req.HalfClose {
		err = stream.CloseWrite()
	}
	for reader := bufio.NewReader(stream); err == nil && len(frames) < req.ReadFrames; {
		var frame []byte
		if frame, err = readFrame(reader); err == nil {
			frames = append(frames, frame)
		}
	}
	end, err := streamEnd(err)
	if err != nil || end == "timeout" {
		_ = stream.Reset()
	} else {
		_ = stream.Close()
	}
	return reply{"frames_b64": frames, "end": end}, err
}

func readFrame(reader *bufio.Reader) ([]byte, error) {
	size, err := binary.ReadUvarint(reader)
	if err != nil {
		return nil, err
	}
	if size > frameBytesMax {
		return nil, fmt.Errorf("frame of %d bytes", size)
	}
	frame := make([]byte, size)
	if _, err := io.ReadFull(reader, frame); err != nil {
		return nil, err
	}
	return frame, nil
}

func streamEnd(err error) (string, error) {
	var timeout net.Error
	switch {
	case err == nil:
		return "open", nil
	case errors.Is(err, io.EOF):
		return "eof", nil
	case errors.Is(err, network.ErrReset):
		return "reset", nil
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout", nil
	}
	return "", err
}

func (n *node) holdStream(ctx context.Context, id peer.ID, name string) error {
	stream, err := n.host.NewStream(ctx, id, protocol.ID(name))
	if err != nil {
		return err
	}
	// An empty write makes a lazily negotiated stream name its protocol.
	if _, err := stream.Write(nil); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held = append(n.held, stream)
	return nil
}

// echo sends pseudo-random bytes while reading them back, half-closing after the last one.
func (n *node) echo(ctx context.Context, id peer.ID, req *request) (reply, error) {
	began := time.Now()
	received := sha256.New()
	sent, count, err := n.exchange(ctx, id, req, received)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(sent, received.Sum(nil)) {
		return nil, fmt.Errorf("echo differs: %d of %d bytes came back", count, req.BytesN)
	}
	return reply{"bytes_n": count, "seconds": time.Since(began).Seconds()}, nil
}

func (n *node) sink(ctx context.Context, id peer.ID, req *request) (reply, error) {
	began := time.Now()
	var answer bytes.Buffer
	sent, _, err := n.exchange(ctx, id, req, &answer)
	if err != nil {
		return nil, err
	}
	want := append(binary.BigEndian.AppendUint64(nil, uint64(req.BytesN)), sent...)
	if !bytes.Equal(want, answer.Bytes()) {
		return nil, fmt.Errorf("sink answered %x, not %x", answer.Bytes(), want)
	}
	return reply{"bytes_n": req.BytesN, "seconds": time.Since(began).Seconds()}, nil
}

// exchange sends `req.BytesN` bytes and copies the answer to `input`; it returns what was sent, hashed.
func (n *node) exchange(ctx context.Context, id peer.ID, req *request, input io.Writer) ([]byte, int64, error) {
	stream, err := n.openStream(ctx, id, req.Protocol)
	if err != nil {
		return nil, 0, err
	}
	digest := sha256.New()
	written := make(chan error, 1)
	go func() {
		var seed [32]byte
		binary.BigEndian.PutUint64(seed[:], uint64(req.ID))
		source := io.LimitReader(rand.NewChaCha8(seed), int64(req.BytesN))
		chunk := make([]byte, max(req.Chunk, 1))
		_, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(digest, stream)}, source, chunk)
		if err == nil {
			err = stream.CloseWrite()
		}
		written <- err
	}()
	count, err := io.Copy(input, stream)
	if err != nil {
		_ = stream.Reset()
	}
	if failed := <-written; failed != nil {
		_ = stream.Reset()
		return nil, count, failed
	}
	if err == nil {
		err = stream.Close()
	}
	return digest.Sum(nil), count, err
}
