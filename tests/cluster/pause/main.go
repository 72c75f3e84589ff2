// Command easel-pause is the program of a pod's sandbox container: it keeps the pod's namespaces alive until it is told to
// stop. It is a program of its own, as each pod runs one and the main program would cost each of them 40 MB.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
}
