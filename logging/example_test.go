package logging_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
	"nextbest/internal/embedded"
	"nextbest/logging"
)

// A decision is durable when Decisions returns; the position says where a
// reader of ClickHouse must wait for it (Sink.WaitFor).
func ExampleJournal() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "nextbest-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	server, err := embedded.StartNATS(embedded.NATSOptions{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	conn, err := server.Connect()
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		log.Fatal(err)
	}

	journal, err := logging.OpenJournal(ctx, js, logging.JournalOptions{})
	if err != nil {
		log.Fatal(err)
	}
	decision := nextbest.Decision{
		ID: uuid.Must(uuid.NewV7()), Slot: 1, Time: time.Now(), Placement: "email-daily@1", Customer: "pseudonym",
		Eligible: []string{"mens-email", nextbest.DoNothing}, Probabilities: []float64{0.7, 0.3},
		Action: "mens-email", Propensity: 0.7,
	}
	position, err := journal.Decisions(ctx, []nextbest.Decision{decision})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("durable at position", position)
	err = journal.Read(ctx, position-1, func(position uint64, ev *logging.Events) error {
		fmt.Println("read at position", position, ev.Decisions[0].Action)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := journal.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// durable at position 1
	// read at position 1 mens-email
}
