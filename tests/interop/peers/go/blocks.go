package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ipfs/boxo/bitswap"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	dag "github.com/ipfs/boxo/ipld/merkledag"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	datastore "github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/libp2p/go-libp2p/core/protocol"

	"primedht/interop/gopeer/adding"
)

// blocks is the half of kubo that exchanges blocks: boxo's bitswap over a store in memory.
type blocks struct {
	exchange *bitswap.Bitswap
	nodes    ipld.DAGService
}

// serveBlocks speaks bitswap in the given versions, newest first, and looks for providers in the DHT.
func (n *node) serveBlocks(versions []string) {
	var protocols []protocol.ID
	for _, version := range versions {
		protocols = append(protocols, protocol.ID("/ipfs/bitswap/"+version))
	}
	store := blockstore.NewBlockstore(dssync.MutexWrap(datastore.NewMapDatastore()))
	network := bsnet.NewFromIpfsHost(n.host, bsnet.SupportedProtocols(protocols))
	exchange := bitswap.New(context.Background(), network, n.dht, store)
	n.blocks = &blocks{exchange, dag.NewDAGService(blockservice.New(store, exchange))}
}

func (n *node) exchangeBlocks(ctx context.Context, req *request) (reply, error) {
	if n.blocks == nil {
		return nil, fmt.Errorf("%s: start the peer with --bitswap", req.Op)
	}
	if req.Op == "add_file" {
		return n.blocks.add(req)
	}
	root, err := cid.Cast(req.CID)
	if err != nil {
		return nil, err
	}
	return n.blocks.fetch(ctx, root)
}

func (b *blocks) add(req *request) (reply, error) {
	profile, known := adding.Profiles()[req.Profile]
	if !known {
		return nil, fmt.Errorf("no such profile: %q", req.Profile)
	}
	file, err := os.Open(req.Path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	root, err := adding.AddFile(profile, b.nodes, file)
	if err != nil {
		return nil, err
	}
	return reply{"cid": root.Cid().Bytes()}, nil
}

// fetch gets a whole DAG, as `ipfs pin add` does, and then reads the file.
func (b *blocks) fetch(ctx context.Context, root cid.Cid) (reply, error) {
	started, cpu := time.Now(), processCPU()
	if err := dag.FetchGraph(ctx, root, b.nodes); err != nil {
		return nil, err
	}
	answer := reply{"seconds": time.Since(started).Seconds(), "cpu_s": (processCPU() - cpu).Seconds()}
	top, err := b.nodes.Get(ctx, root)
	if err != nil {
		return nil, err
	}
	reader, err := uio.NewDagReader(ctx, top, b.nodes)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, reader)
	answer["bytes_n"], answer["sha256"] = size, fmt.Sprintf("%x", hash.Sum(nil))
	return answer, err
}
