package offline

import "nextbest"

// dictionary gives actions one numbering for the whole run, whatever the
// numbering of a stream.
type dictionary struct {
	names []string
	index map[string]int32
	// local maps the current stream's indices to ours.
	local []int32
}

func newDictionary() *dictionary { return &dictionary{index: map[string]int32{}} }

// begin starts another stream.
func (d *dictionary) begin() { d.local = d.local[:0] }

// extend takes over the actions of a batch that are new.
func (d *dictionary) extend(b *nextbest.Batch) {
	for _, name := range b.Actions[min(len(d.local), len(b.Actions)):] {
		i, ok := d.index[name]
		if !ok {
			i = int32(len(d.names))
			d.names = append(d.names, name)
			d.index[name] = i
		}
		d.local = append(d.local, i)
	}
}

// find returns an action's number, −1 when no row has it.
func (d *dictionary) find(name string) int32 {
	if i, ok := d.index[name]; ok {
		return i
	}
	return -1
}
