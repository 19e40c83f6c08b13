package main

import "strings"

// joinNegatives writes a flag and the negative number after it as one argument,
// as in --reward-min=-3: on its own, -3 would be read as short flags.
func joinNegatives(args []string) []string {
	var out []string
	for _, a := range args {
		last := len(out) - 1
		if last >= 0 && strings.HasPrefix(out[last], "--") && len(out[last]) > 2 && !strings.Contains(out[last], "=") && len(a) > 1 && a[0] == '-' && strings.ContainsRune("0123456789.", rune(a[1])) {
			out[last] += "=" + a
			continue
		}
		out = append(out, a)
	}
	return out
}
