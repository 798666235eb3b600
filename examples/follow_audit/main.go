// Print the audit stream. In a module of its own: go mod init example, go get github.com/twmb/franz-go
//
// KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092 go run .
//
// A real consumer keeps the position with its effect, and begins behind it after a restart.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	start := map[string]map[int32]kgo.Offset{"fileflux.audit": {0: kgo.NewOffset().AtStart()}}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(os.Getenv("KAFKA_BOOTSTRAP_SERVERS"), ",")...),
		kgo.ConsumePartitions(start),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	for position := int64(0); ; {
		fetches := client.PollFetches(context.Background())
		fetches.EachError(func(_ string, _ int32, err error) { log.Fatal(err) })
		fetches.EachRecord(func(record *kgo.Record) {
			found, _ := strconv.ParseInt(header(record, "ce_position"), 10, 64)
			if found <= position {
				return // Published again.
			}
			if found != position+1 {
				log.Fatalf("%d follows %d", found, position)
			}
			position = found
			fmt.Println(position, header(record, "ce_type"), header(record, "ce_source"))
		})
	}
}

func header(record *kgo.Record, name string) string {
	for _, one := range record.Headers {
		if one.Key == name {
			return string(one.Value)
		}
	}
	return ""
}
