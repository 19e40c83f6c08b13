package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"nextbest/cmd/nextbest/client"

	"github.com/gin-gonic/gin"
)

// prepareIngest defines what makes the rewards' kind known.
func prepareIngest(ctx context.Context, admin *client.Client) (*client.Client, error) {
	if _, err := admin.Call(ctx, http.MethodPut, "/v1/objectives/ingest", map[string]any{"terms": []map[string]any{{"reward": "visit", "weight": 1}}, "window": "1d", "default": 0}, nil); err != nil {
		return nil, err
	}
	var key struct {
		Key string `json:"key"`
	}
	if _, err := admin.Call(ctx, http.MethodPost, "/v1/keys", map[string]any{"role": "channel", "name": "ingest"}, &key); err != nil {
		return nil, err
	}
	return admin.As(key.Key), nil
}

// rewardLines returns one NDJSON body of n rewards that name customers.
func rewardLines(batch, n int) []byte {
	var b bytes.Buffer
	now := time.Now().UTC().Format(time.RFC3339Nano)
	for i := range n {
		id := strconv.Itoa(batch*n + i)
		fmt.Fprintf(&b, `{"id":"bench-%s","kind":"visit","value":1,"time":%q,"customer":{"id":"B-%s"}}`+"\n", id, now, id)
	}
	return b.Bytes()
}

// countingBaseline serves a handler that reads the lines and counts them.
func countingBaseline() (address string, stop func(), err error) {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.POST("/count", func(c *gin.Context) {
		n := 0
		for lines := bufio.NewScanner(c.Request.Body); lines.Scan(); n++ {
		}
		c.JSON(http.StatusOK, map[string]int{"lines": n})
	})
	return listen(e)
}
