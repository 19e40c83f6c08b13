package demo

import (
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const hillstromHead = "recency,history_segment,history,mens,womens,zip_code,newbie,channel,segment,visit,conversion,spend\n"

func writeMailing(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if strings.HasSuffix(name, ".gz") {
		z := gzip.NewWriter(f)
		if _, err := z.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	} else if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadHillstrom(t *testing.T) {
	// Any published copy: with a byte-order mark, other columns, another order.
	text := "\ufeffsegment,recency,history_segment,history,mens,womens,zip_code,newbie,channel,visit,conversion,spend,extra\n" +
		"Womens E-Mail,10,\"2) $100 - $200\",142.44,1,0,Surburban,0,Phone,1,1,29.99,x\n" +
		"No E-Mail,6,3) $200 - $350,329.08,1,1,Rural,1,Web,0,0,0,x\n"
	for _, name := range []string{"a.csv", "a.csv.gz"} {
		rows, err := readHillstrom(writeMailing(t, name, text))
		if err != nil || len(rows) != 2 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		m := rows[0]
		if m.action != "womens-email" || m.context["recency"] != 10. || m.context["history"] != 142.44 || m.context["mens"] != true || m.context["womens"] != false || m.context["channel"] != "Phone" || !m.visit || !m.conversion || m.spend != 29.99 {
			t.Errorf("row %+v", m)
		}
		if rows[1].action != "do-nothing" || rows[1].visit {
			t.Errorf("row %+v", rows[1])
		}
	}
}

func TestReadHillstromRefuses(t *testing.T) {
	good := "10,2) $100 - $200,142.44,1,0,Surburban,0,Phone,Womens E-Mail,0,0,0\n"
	for _, tt := range []struct{ name, file, text, want string }{
		{"missing column", "a.csv", strings.Replace(hillstromHead, ",spend", "", 1), "no column spend"},
		{"no rows", "a.csv", hillstromHead, "no rows"},
		{"empty", "a.csv", "", "EOF"},
		{"segment", "a.csv", hillstromHead + good + strings.Replace(good, "Womens", "Kids", 1), `row 2: segment is "Kids E-Mail"`},
		{"number", "a.csv", hillstromHead + strings.Replace(good, "142.44", "lots", 1), `row 1: history is "lots"`},
		{"ragged", "a.csv", hillstromHead + "1,2,3\n", "wrong number of fields"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := readHillstrom(writeMailing(t, tt.file, tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	path := filepath.Join(t.TempDir(), "plain.csv.gz")
	if err := os.WriteFile(path, []byte(hillstromHead), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readHillstrom(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that is not compressed, though its name says so: %v", err)
	}
}

func TestMailingRewards(t *testing.T) {
	m := mailing{action: "mens-email", visit: true, conversion: true, spend: 20}
	if r := m.rewards("mens-email"); r["visit"] != 1 || r["conversion"] != 1 || r["spend"] != 20 || r["net_visit"] != 1-mailCost {
		t.Errorf("rewards %v", r)
	}
	nothing := mailing{action: "do-nothing"}
	if r := nothing.rewards("do-nothing"); len(r) != 0 {
		t.Errorf("nothing happened, and the rewards are %v", r)
	}
	cost := mailing{action: "mens-email"}
	if r := cost.rewards("mens-email"); len(r) != 1 || r["net_visit"] != -mailCost {
		t.Errorf("a mail without a visit gives %v", r)
	}
}
