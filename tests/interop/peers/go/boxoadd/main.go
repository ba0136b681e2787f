// Prints the CID that boxo, the library under kubo's `ipfs add -r`, gives each path of the command line.
// With --read it prints the file of a CID instead, from a folder with a file for each block, named by its CID.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/exchange/offline"
	dag "github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	block "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	datastore "github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	ipld "github.com/ipfs/go-ipld-format"

	"primedht/interop/gopeer/adding"
)

// nodes drops large leaves: they are never read again, and files may be larger than memory.
type nodes struct{ ipld.DAGService }

func (n nodes) Add(ctx context.Context, node ipld.Node) error {
	if len(node.Links()) == 0 && len(node.RawData()) > 64<<10 {
		return nil
	}
	return n.DAGService.Add(ctx, node)
}

func (n nodes) AddMany(ctx context.Context, all []ipld.Node) error {
	for _, node := range all {
		if err := n.Add(ctx, node); err != nil {
			return err
		}
	}
	return nil
}

type adder struct {
	ctx     context.Context
	profile uio.UnixFSProfile
	nodes   nodes
}

func (a adder) add(path string) (ipld.Node, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	switch {
	case info.Mode()&os.ModeSymlink != 0:
		return a.symlink(path)
	case info.IsDir():
		return a.directory(path)
	default:
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return adding.AddFile(a.profile, a.nodes, file)
	}
}

func (a adder) symlink(path string) (ipld.Node, error) {
	target, err := os.Readlink(path)
	if err != nil {
		return nil, err
	}
	data, err := unixfs.SymlinkData(target)
	if err != nil {
		return nil, err
	}
	node := dag.NodeWithData(data)
	return node, node.SetCidBuilder(a.profile.CidBuilder())
}

func (a adder) directory(path string) (ipld.Node, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name() < entries[j].Name() })
	directory, err := uio.NewDirectory(a.nodes, uio.WithCidBuilder(a.profile.CidBuilder()))
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		child, err := a.add(filepath.Join(path, entry.Name()))
		if err != nil {
			return nil, err
		}
		if err := directory.AddChild(a.ctx, entry.Name(), child); err != nil {
			return nil, err
		}
	}
	return directory.GetNode()
}

func read(ctx context.Context, blocks blockstore.Blockstore, service ipld.DAGService, folder, root string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return err
		}
		id, err := cid.Decode(entry.Name())
		if err != nil {
			return err
		}
		sum, err := id.Prefix().Sum(data)
		if err != nil || !sum.Equals(id) {
			return fmt.Errorf("%s holds other bytes: %v", entry.Name(), err)
		}
		whole, err := block.NewBlockWithCid(data, id)
		if err != nil {
			return err
		}
		if err := blocks.Put(ctx, whole); err != nil {
			return err
		}
	}
	id, err := cid.Decode(root)
	if err != nil {
		return err
	}
	node, err := service.Get(ctx, id)
	if err != nil {
		return err
	}
	reader, err := uio.NewDagReader(ctx, node, service)
	if err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, reader)
	return err
}

func main() {
	folder := flag.String("read", "", "folder with a file for each block")
	name := flag.String("profile", "unixfs-v1-2025", "ipfs-v0, ipfs-v1 or unixfs-v1-2025")
	flag.Parse()
	profile, known := adding.Profiles()[*name]
	if !known {
		fmt.Fprintln(os.Stderr, "no such profile:", *name)
		os.Exit(2)
	}
	profile.ApplyGlobals()
	blocks := blockstore.NewBlockstore(dssync.MutexWrap(datastore.NewMapDatastore()))
	service := dag.NewDAGService(blockservice.New(blocks, offline.Exchange(blocks)))
	if *folder != "" {
		if err := read(context.Background(), blocks, service, *folder, flag.Arg(0)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	a := adder{context.Background(), profile, nodes{service}}
	for _, path := range flag.Args() {
		node, err := a.add(path)
		if err != nil {
			fmt.Fprintln(os.Stderr, path, err)
			os.Exit(1)
		}
		fmt.Println(node.Cid())
	}
}
