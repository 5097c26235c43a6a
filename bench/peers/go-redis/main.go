// A server in the style of one that Millpond replaces: every read is a GET to Redis.
//
// net/http and go-redis with their defaults, one processor, no logs. At its start it puts the
// captured bodies into Redis, so no read ever misses.
//
// Usage: go-redis <address> <directory of responses> <address of Redis>.
package main

import (
	"bytes"
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// What is not the body of an answer, by file name, such as "100.gzip".
type answers map[string]http.Header

func main() {
	if len(os.Args) < 4 {
		log.Fatal("usage: go-redis <address> <directory of responses> <address of Redis>")
	}
	runtime.GOMAXPROCS(1)
	store := redis.NewClient(&redis.Options{Addr: os.Args[3]})
	kept, err := load(store, os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/todos", list(store, kept))
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(listener, nil))
}

func load(store *redis.Client, directory string) (answers, error) {
	kept := answers{}
	files, err := os.ReadDir(directory)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		response, err := os.ReadFile(filepath.Join(directory, file.Name()))
		if err != nil {
			return nil, err
		}
		head, body, ok := bytes.Cut(response, []byte("\r\n\r\n"))
		if !ok {
			return nil, errors.New("no end of the head in " + file.Name())
		}
		header := http.Header{}
		for _, line := range strings.Split(string(head), "\r\n")[1:] {
			name, value, _ := strings.Cut(line, ": ")
			header.Set(name, value)
		}
		header.Del("Content-Length")
		header.Del("Date")
		kept[file.Name()] = header
		if err := store.Set(context.Background(), file.Name(), body, 0).Err(); err != nil {
			return nil, err
		}
	}
	return kept, nil
}

func list(store *redis.Client, kept answers) http.HandlerFunc {
	return func(response http.ResponseWriter, request *http.Request) {
		limit := request.URL.Query().Get("limit")
		if limit == "" {
			limit = "all"
		}
		name := limit + ".identity"
		if strings.Contains(request.Header.Get("Accept-Encoding"), "gzip") {
			name = limit + ".gzip"
		}
		header, known := kept[name]
		if !known {
			http.NotFound(response, request)
			return
		}
		for name, values := range header {
			response.Header()[name] = values
		}
		if tag := request.Header.Get("If-None-Match"); tag != "" && tag == header.Get("ETag") {
			response.WriteHeader(http.StatusNotModified)
			return
		}
		body, err := store.Get(request.Context(), name).Bytes()
		if err != nil {
			http.Error(response, "the cache is away", http.StatusServiceUnavailable)
			return
		}
		// Without a length a long body would go in chunks.
		response.Header().Set("Content-Length", strconv.Itoa(len(body)))
		// A failed write is a client that has gone.
		_, _ = response.Write(body)
	}
}
