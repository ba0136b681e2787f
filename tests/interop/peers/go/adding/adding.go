// Package adding imports files as boxo, the library under kubo's `ipfs add`, does.
package adding

import (
	"io"

	chunk "github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	ipld "github.com/ipfs/go-ipld-format"
)

// Profiles are the two of IPIP-499 as boxo has them, and what `ipfs add --cid-version=1` changes.
func Profiles() map[string]uio.UnixFSProfile {
	v1 := uio.UnixFS_v0_2015
	v1.CIDVersion, v1.RawLeaves = 1, true
	return map[string]uio.UnixFSProfile{
		"ipfs-v0":        uio.UnixFS_v0_2015,
		"ipfs-v1":        v1,
		"unixfs-v1-2025": uio.UnixFS_v1_2025,
	}
}

// AddFile stores the nodes of a file and returns its root.
func AddFile(profile uio.UnixFSProfile, nodes ipld.DAGService, from io.Reader) (ipld.Node, error) {
	params := helpers.DagBuilderParams{
		Maxlinks:   profile.FileDAGWidth,
		RawLeaves:  profile.RawLeaves,
		CidBuilder: profile.CidBuilder(),
		Dagserv:    nodes,
	}
	builder, err := params.New(chunk.NewSizeSplitter(from, profile.ChunkSize))
	if err != nil {
		return nil, err
	}
	return balanced.Layout(builder)
}
