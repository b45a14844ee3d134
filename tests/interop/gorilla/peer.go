// A peer by gorilla/websocket, as a server and as a client.
//
//	peer serve COMPRESSION [CERTIFICATE KEY]
//	peer connect COMPRESSION URI [CERTIFICATE]
//
// COMPRESSION is "deflate" or "none". The server prints its port, sends every message back, and closes
// connections to /close. The client sends messages and checks that they come back, pings, closes, and
// prints as JSON what it has seen. Whatever goes wrong ends the process with an error.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

const (
	closeCode   = 4321
	closeReason = "caf\u00e9"
	timeout     = 60 * time.Second
)

type message struct {
	kind    int
	payload []byte
}

func messages() []message {
	every := make([]byte, 256)
	for number := range every {
		every[number] = byte(number)
	}
	return []message{
		{websocket.TextMessage, nil},
		{websocket.TextMessage, []byte("hello")},
		{websocket.TextMessage, []byte("caf\u00e9")},
		{websocket.BinaryMessage, every},
		{websocket.TextMessage, bytes.Repeat([]byte("x"), 70000)},
		{websocket.BinaryMessage, make([]byte, 1<<21)},
		{websocket.TextMessage, bytes.Repeat([]byte("y"), 1<<21)},
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func sendClose(connection *websocket.Conn) {
	payload := websocket.FormatCloseMessage(closeCode, closeReason)
	check(connection.WriteControl(websocket.CloseMessage, payload, time.Now().Add(timeout)))
}

// Read until the peer's close frame.
func readClose(connection *websocket.Conn) []interface{} {
	for {
		_, _, err := connection.ReadMessage()
		var closed *websocket.CloseError
		if errors.As(err, &closed) {
			return []interface{}{closed.Code, closed.Text}
		}
		check(err)
	}
}

func serve(compression string, files []string) {
	upgrader := websocket.Upgrader{EnableCompression: compression == "deflate"}
	handler := func(response http.ResponseWriter, request *http.Request) {
		connection, err := upgrader.Upgrade(response, request, nil)
		if err != nil {
			return
		}
		defer connection.Close()
		if request.URL.Path == "/close" {
			sendClose(connection)
		}
		for {
			kind, payload, err := connection.ReadMessage()
			if err != nil {
				return
			}
			if connection.WriteMessage(kind, payload) != nil {
				return
			}
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	server := &http.Server{Handler: http.HandlerFunc(handler)}
	if len(files) == 2 {
		check(server.ServeTLS(listener, files[0], files[1]))
	} else {
		check(server.Serve(listener))
	}
}

func connect(compression string, uri string, files []string) {
	dialer := websocket.Dialer{
		EnableCompression: compression == "deflate",
		HandshakeTimeout:  timeout,
		Subprotocols:      []string{"other", "chat"},
	}
	if len(files) == 1 {
		certificate, err := os.ReadFile(files[0])
		check(err)
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(certificate)
		dialer.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	open := func(uri string) (*websocket.Conn, string) {
		connection, response, err := dialer.Dial(uri, nil)
		check(err)
		check(connection.SetReadDeadline(time.Now().Add(timeout)))
		return connection, strings.Join(response.Header["Sec-Websocket-Extensions"], ", ")
	}

	connection, extensions := open(uri)
	defer connection.Close()
	for _, sent := range messages() {
		// Reading goes on while what is large is written.
		written := make(chan error, 1)
		go func() { written <- connection.WriteMessage(sent.kind, sent.payload) }()
		kind, payload, err := connection.ReadMessage()
		check(err)
		check(<-written)
		if kind != sent.kind || !bytes.Equal(payload, sent.payload) {
			log.Fatalf("sent %d bytes, received %d others", len(sent.payload), len(payload))
		}
	}
	pong := ""
	connection.SetPongHandler(func(data string) error {
		pong = data
		sendClose(connection)
		return nil
	})
	check(connection.WriteControl(websocket.PingMessage, []byte("are you there?"), time.Now().Add(timeout)))
	answer := readClose(connection)
	if pong != "are you there?" {
		log.Fatalf("the pong has %q", pong)
	}

	other, _ := open(uri + "close")
	defer other.Close()
	check(json.NewEncoder(os.Stdout).Encode(map[string]interface{}{
		"extensions":  extensions,
		"subprotocol": connection.Subprotocol(),
		"answer":      answer,
		"close":       readClose(other),
	}))
}

func main() {
	if os.Args[1] == "serve" {
		serve(os.Args[2], os.Args[3:])
	} else {
		connect(os.Args[2], os.Args[3], os.Args[4:])
	}
}
