package nextbest

import (
	"crypto/sha256"
	"encoding/binary"
)

// Uniform maps (salt, key) to a number in [0, 1) that is a multiple of 2⁻⁵³:
// the first 53 bits of SHA-256(salt ‖ 0x00 ‖ key). Every draw, every
// assignment and every split of customers comes from it, so that all can be
// repeated; different uses take different salts. The same number in SQL:
//
//	bitShiftRight(reinterpretAsUInt64(reverse(substring(SHA256(concat(salt, '\0', key)), 1, 8))), 11) / pow(2, 53)
func Uniform(salt, key string) float64 {
	var buf [128]byte
	b := append(buf[:0], salt...)
	b = append(b, 0)
	b = append(b, key...)
	sum := sha256.Sum256(b)
	return float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53)
}
