package api

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"nextbest/bandit"
)

// TestEveryAlgorithmCanBeDefined compares the API's list with the platform's.
func TestEveryAlgorithmCanBeDefined(t *testing.T) {
	field, _ := reflect.TypeFor[Policy]().FieldByName("Algorithm")
	listed := strings.Split(field.Tag.Get("enum"), ",")
	slices.Sort(listed)
	if want := bandit.Algorithms(); !slices.Equal(listed, want) {
		t.Errorf("the API lists %v, and there are %v", listed, want)
	}
}
