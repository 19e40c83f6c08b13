package main

import (
	"os"
	"path/filepath"

	"nextbest/internal/embedded"
)

// engines says where the two engines are. Without URLs they run inside this
// program, in the data folder.
type engines struct {
	Data             string `help:"Folder for the embedded engines, keys and models." default:"${data}" type:"path" env:"NEXTBEST_DATA"`
	ClickHouse       string `name:"clickhouse" help:"ClickHouse to use instead of the embedded one: clickhouse://user:password@host:9000/nextbest" placeholder:"URL" env:"NEXTBEST_CLICKHOUSE"`
	NATS             string `name:"nats" help:"NATS with JetStream to use instead of the embedded one: nats://user:password@host:4222" placeholder:"URL" env:"NEXTBEST_NATS"`
	Replicas         int    `help:"Copies of each JetStream stream; 3 on a NATS cluster." default:"1" enum:"1,3,5" env:"NEXTBEST_REPLICAS"`
	ClickHouseMemory int64  `name:"clickhouse-memory" help:"Memory limit of the embedded ClickHouse, MiB." default:"2048" env:"NEXTBEST_CLICKHOUSE_MEMORY"`
	NATSMemory       int64  `name:"nats-memory" help:"Memory for idempotency keys and contact histories with the embedded NATS, MiB, half for each." default:"512" env:"NEXTBEST_NATS_MEMORY"`
	JournalSize      int64  `name:"journal-size" help:"Most the journal may hold on disk, MiB; beyond it decisions are refused rather than lost." default:"8192" env:"NEXTBEST_JOURNAL_SIZE"`
}

// memory returns the bytes for the state of customers on the embedded NATS.
func (e *engines) memory() int64 {
	if e.NATSMemory == 0 {
		return embedded.DefaultMemory
	}
	return e.NATSMemory << 20
}

// defaultData returns the folder used when none is named.
func defaultData() string {
	if d := os.Getenv("XDG_DATA_HOME"); d != "" {
		return filepath.Join(d, "nextbest")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "nextbest-data"
	}
	return filepath.Join(home, ".local", "share", "nextbest")
}
