package offline

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// isSingle reports whether a column's numbers were rounded to float32.
func isSingle(t arrow.DataType) bool {
	switch t := t.(type) {
	case *arrow.Float32Type, *arrow.Float16Type:
		return true
	case arrow.ListLikeType:
		return isSingle(t.Elem())
	case *arrow.DictionaryType:
		return isSingle(t.ValueType)
	}
	return false
}

// numbersOf returns an array's values, NaN where there is none. Truth values
// count as 0 and 1.
func numbersOf(a arrow.Array) ([]float64, error) {
	at, err := numberAt(a)
	if err != nil {
		return nil, err
	}
	out := make([]float64, a.Len())
	for i := range out {
		out[i] = math.NaN()
		if a.IsValid(i) {
			out[i] = at(i)
		}
	}
	return out, nil
}

func numberAt(a arrow.Array) (func(i int) float64, error) {
	switch a := a.(type) {
	case *array.Float64:
		return a.Value, nil
	case *array.Float32:
		return convert(a.Value), nil
	case *array.Float16:
		return func(i int) float64 { return float64(a.Value(i).Float32()) }, nil
	case *array.Int64:
		return convert(a.Value), nil
	case *array.Int32:
		return convert(a.Value), nil
	case *array.Int16:
		return convert(a.Value), nil
	case *array.Int8:
		return convert(a.Value), nil
	case *array.Uint64:
		return convert(a.Value), nil
	case *array.Uint32:
		return convert(a.Value), nil
	case *array.Uint16:
		return convert(a.Value), nil
	case *array.Uint8:
		return convert(a.Value), nil
	case *array.Boolean:
		return func(i int) float64 {
			if a.Value(i) {
				return 1
			}
			return 0
		}, nil
	case *array.Decimal128:
		scale := a.DataType().(*arrow.Decimal128Type).Scale
		return func(i int) float64 { return a.Value(i).ToFloat64(scale) }, nil
	case *array.Decimal256:
		scale := a.DataType().(*arrow.Decimal256Type).Scale
		return func(i int) float64 { return a.Value(i).ToFloat64(scale) }, nil
	case *array.Null: // of no type, for it holds nothing
		return func(int) float64 { return math.NaN() }, nil
	case *array.Dictionary:
		at, err := numberAt(a.Dictionary())
		if err != nil {
			return nil, err
		}
		return func(i int) float64 {
			k := a.GetValueIndex(i)
			if !a.Dictionary().IsValid(k) {
				return math.NaN()
			}
			return at(k)
		}, nil
	}
	return nil, fmt.Errorf("%s is not a type of number", a.DataType())
}

func convert[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | float32](value func(int) T) func(int) float64 {
	return func(i int) float64 { return float64(value(i)) }
}

// textOf returns an array's values as text, "" where there is none. Whole
// numbers are text where numbers is set; otherwise an array of numbers gives
// nil.
func textOf(a arrow.Array, numbers bool) ([]string, error) {
	at, err := textAt(a, numbers)
	if at == nil || err != nil {
		return nil, err
	}
	out := make([]string, a.Len())
	for i := range out {
		if a.IsValid(i) {
			out[i] = at(i)
		}
	}
	return out, nil
}

func textAt(a arrow.Array, numbers bool) (func(i int) string, error) {
	switch a := a.(type) {
	case *array.String:
		return a.Value, nil
	case *array.LargeString:
		return a.Value, nil
	case *array.StringView:
		return a.Value, nil
	case *array.Binary:
		return func(i int) string { return bytesText(a.Value(i)) }, nil
	case *array.FixedSizeBinary:
		return func(i int) string { return bytesText(a.Value(i)) }, nil
	case *array.Dictionary:
		at, err := textAt(a.Dictionary(), numbers)
		if at == nil || err != nil {
			return nil, err
		}
		return func(i int) string {
			k := a.GetValueIndex(i)
			if !a.Dictionary().IsValid(k) {
				return ""
			}
			return at(k)
		}, nil
	case array.ExtensionArray: // a UUID, say
		return textAt(a.Storage(), numbers)
	case *array.Int64: // beyond float64's whole numbers
		if numbers {
			return func(i int) string { return strconv.FormatInt(a.Value(i), 10) }, nil
		}
		return nil, nil
	case *array.Uint64:
		if numbers {
			return func(i int) string { return strconv.FormatUint(a.Value(i), 10) }, nil
		}
		return nil, nil
	}
	at, err := numberAt(a)
	if err != nil || !numbers {
		return nil, err
	}
	return func(i int) string {
		if v := at(i); v == v {
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
		return ""
	}, nil
}

// bytesText is text where the bytes are text, else their digits.
func bytesText(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return hex.EncodeToString(b)
}

// listsOf returns a column of lists of numbers; a list that is missing is
// empty.
func listsOf(a arrow.Array) (fileLists, error) {
	if _, none := a.(*array.Null); none { // of no type, for it holds nothing
		return fileLists{offsets: make([]int, a.Len()+1)}, nil
	}
	lists, ok := a.(array.ListLike)
	if !ok {
		return fileLists{}, fmt.Errorf("%s is not a list of numbers, one for each action", a.DataType())
	}
	if _, nested := lists.ListValues().(array.ListLike); nested {
		return fileLists{}, fmt.Errorf("%s is a list of lists: where it is of actions by positions, give each row the list of its own position", a.DataType())
	}
	values, err := numbersOf(lists.ListValues())
	if err != nil {
		return fileLists{}, err
	}
	out := fileLists{offsets: make([]int, 1, a.Len()+1)}
	for i := range a.Len() {
		if a.IsValid(i) {
			lo, hi := lists.ValueOffsets(i)
			out.values = append(out.values, values[lo:hi]...)
		}
		out.offsets = append(out.offsets, len(out.values))
	}
	return out, nil
}
