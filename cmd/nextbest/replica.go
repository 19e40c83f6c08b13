package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"
)

// replicaFileName is the file with the name of a replica.
const replicaFileName = "replica"

// replicaName returns the name of the replica whose data folder it is, which its
// processes have one after the other. The first one writes it.
func replicaName(folder string) (string, error) {
	path := filepath.Join(folder, replicaFileName)
	text, err := os.ReadFile(path)
	if err == nil {
		if id, err := uuid.ParseBytes(text); err == nil {
			return id.String(), nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("the replica's name: %w", err)
	}
	name := uuid.NewString()
	temporary := path + ".new"
	if err := os.WriteFile(temporary, []byte(name), 0o600); err != nil {
		return "", fmt.Errorf("the replica's name: %w", err)
	}
	return name, os.Rename(temporary, path)
}
