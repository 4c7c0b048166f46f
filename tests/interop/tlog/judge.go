// judge verifies a tiled log in a folder with golang.org/x/mod/sumdb (note, tlog) alone: the note, every leaf hash against
// the signed root, every entry against its leaf hash, and consistency with older roots.
//
// Use: judge FOLDER VKEY [OLD_SIZE:OLD_ROOT_IN_HEX ..]. It prints "ok SIZE", or what is wrong and ends with status 1.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type folder string

func (f folder) Height() int { return 8 }

func (f folder) SaveTiles(tiles []tlog.Tile, data [][]byte) {}

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	all := make([][]byte, len(tiles))
	for i, tile := range tiles {
		path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/") // the C2SP form leaves the height out
		data, err := os.ReadFile(filepath.Join(string(f), path))
		if err != nil {
			return nil, err
		}
		all[i] = data
	}
	return all, nil
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// entries returns the entries of a tree of n.
func (f folder) entries(n int64) [][]byte {
	var all [][]byte
	for int64(len(all)) < n {
		tile := tlog.Tile{H: 8, L: -1, N: int64(len(all)) / 256, W: 256}
		if n-int64(len(all)) < 256 {
			tile.W = int(n - int64(len(all)))
		}
		path := "tile/entries/" + strings.TrimPrefix(tile.Path(), "tile/8/data/")
		data, err := os.ReadFile(filepath.Join(string(f), path))
		check(err)
		for i := 0; i < tile.W; i++ {
			size := int(binary.BigEndian.Uint16(data))
			all = append(all, data[2:2+size])
			data = data[2+size:]
		}
		if len(data) > 0 {
			check(fmt.Errorf("%s: bytes after the last entry", path))
		}
	}
	return all
}

func main() {
	f := folder(os.Args[1])
	verifier, err := note.NewVerifier(os.Args[2])
	check(err)
	data, err := os.ReadFile(filepath.Join(string(f), "checkpoint"))
	check(err)
	opened, err := note.Open(data, note.VerifierList(verifier))
	check(err)
	lines := strings.Split(opened.Text, "\n")
	n, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	root, err := base64.StdEncoding.DecodeString(lines[2])
	check(err)
	if n == 0 {
		if empty := sha256.Sum256(nil); !bytes.Equal(root, empty[:]) {
			check(fmt.Errorf("the root of an empty tree is another"))
		}
		fmt.Println("ok 0")
		return
	}
	tree := tlog.Tree{N: n}
	copy(tree.Hash[:], root)
	reader := tlog.TileHashReader(tree, f)
	indexes := make([]int64, n)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(0, int64(i))
	}
	leaves, err := reader.ReadHashes(indexes)
	check(err)
	for i, entry := range f.entries(n) {
		if tlog.RecordHash(entry) != leaves[i] {
			check(fmt.Errorf("entry %d is not what its leaf says", i))
		}
	}
	for _, i := range []int64{0, n / 2, n - 1} {
		proof, err := tlog.ProveRecord(n, i, reader)
		check(err)
		check(tlog.CheckRecord(proof, n, tree.Hash, i, leaves[i]))
	}
	for _, old := range os.Args[3:] {
		size, hash, _ := strings.Cut(old, ":")
		m, err := strconv.ParseInt(size, 10, 64)
		check(err)
		var before tlog.Hash
		_, err = hex.Decode(before[:], []byte(hash))
		check(err)
		proof, err := tlog.ProveTree(n, m, reader)
		check(err)
		check(tlog.CheckTree(proof, n, tree.Hash, m, before))
	}
	fmt.Printf("ok %d\n", n)
}
