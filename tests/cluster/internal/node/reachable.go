package node

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"time"
)

// The answer to "are you ready?" is no secret and nothing depends on who gave it, so that certificates are not checked.
var prober = &http.Client{
	Timeout:   2 * time.Second,
	Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
}

// reachable asks once: `unix:PATH` has to accept a connection, a URL to answer 200.
func reachable(target string) bool {
	if path, ok := strings.CutPrefix(target, "unix:"); ok {
		connection, err := net.Dial("unix", path)
		if err != nil {
			return false
		}
		_ = connection.Close()
		return true
	}
	response, err := prober.Get(target)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}
