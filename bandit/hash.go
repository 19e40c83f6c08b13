package bandit

import "github.com/cespare/xxhash/v2"

// A hashed categorical feature (Weinberger et al. 2009, "Feature hashing for
// large scale multitask learning", without the sign, so that weights stay
// readable) puts a string into one of n columns:
//
//	seed = XXH64(UTF-8 of the feature's name, seed 0)
//	column = XXH64(UTF-8 of the string, seed) mod n
//
// Different features spread the same string differently. Strings that share a
// column share its weight. testdata/hash.json is for every language.

// hashSeed returns the seed of a feature's hash.
func hashSeed(name string) uint64 { return xxhash.Sum64String(name) }

// bucket returns the column of a string among n.
func bucket(seed uint64, value string, n int) int {
	var d xxhash.Digest
	d.ResetWithSeed(seed)
	d.WriteString(value) // never fails
	return int(d.Sum64() % uint64(n))
}
