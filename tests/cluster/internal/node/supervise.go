package node

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"easel.dev/tests/cluster/internal/config"
)

// Restarts while the cluster starts. One may be the race of two components; more is a fault that trying does not mend.
const startAttempts = 3

// restartDelay keeps a component that ends at once from keeping a core busy. Tests kill components and wait for them.
const restartDelay = time.Second

// supervisor starts components stage by stage and collects every process that ends in the node. One goroutine owns its
// fields; the others only send.
type supervisor struct {
	spec      Spec
	running   map[int]config.Command
	attempts  map[string]int
	stage     int // the stage to start next
	reachable bool
	pending   int // commands that the next stage waits for to succeed
	ready     chan int
	restart   chan config.Command
	log       *log.Logger
}

func newSupervisor(spec Spec) *supervisor {
	return &supervisor{
		spec:     spec,
		running:  map[int]config.Command{},
		attempts: map[string]int{},
		ready:    make(chan int, 1),
		restart:  make(chan config.Command),
		log:      log.New(os.Stderr, "", log.LstdFlags|log.Lmicroseconds),
	}
}

// run returns only when a component could not be started.
func (s *supervisor) run() error {
	// Before the first start, so that no end is missed.
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	s.await()
	for {
		var err error
		select {
		case <-s.ready:
			s.reachable = true
		case command := <-s.restart:
			err = s.start(command)
		case <-ended:
			err = s.collect()
		}
		if err == nil {
			err = s.advance()
		}
		if err != nil {
			return err
		}
	}
}

// await asks for the next stage to be announced when what it waits for answers.
func (s *supervisor) await() {
	if s.stage >= len(s.spec.Stages) {
		return
	}
	stage, waitFor := s.stage, s.spec.Stages[s.stage].WaitFor
	go func() {
		waitUntilReachable(waitFor)
		s.ready <- stage
	}()
}

// advance starts the next stage if nothing stands in its way.
func (s *supervisor) advance() error {
	if !s.reachable || s.pending > 0 || s.stage >= len(s.spec.Stages) {
		return nil
	}
	commands := s.spec.Stages[s.stage].Commands
	s.stage++
	s.reachable = false
	for _, command := range commands {
		if command.Once {
			s.pending++
		}
		if err := s.start(command); err != nil {
			return err
		}
	}
	s.await()
	return nil
}

func (s *supervisor) start(command config.Command) error {
	s.attempts[command.Name]++
	// A program of many names, as iptables is, goes by what it is started as; so does this one.
	program, name := "/proc/self/exe", command.Name
	if command.Program != "" {
		name = command.Program
		found, err := exec.LookPath(command.Program)
		if err != nil {
			return s.giveUp(command, err.Error())
		}
		program = found
	}
	output, err := openLog(s.spec.Cluster, s.spec.Name, command.Name)
	if err != nil {
		return s.giveUp(command, err.Error())
	}
	defer func() { _ = output.Close() }()
	process, err := os.StartProcess(program, append([]string{name}, command.Args...), &os.ProcAttr{
		Dir: "/", Env: environment(), Files: []*os.File{nil, output, output},
	})
	if err != nil {
		return s.giveUp(command, err.Error())
	}
	s.log.Printf("%s started as %d", command.Name, process.Pid)
	s.running[process.Pid] = command
	// Collected by wait4 below, which sees the orphans of the node as well.
	_ = process.Release()
	return nil
}

func (s *supervisor) collect() error {
	for {
		var status unix.WaitStatus
		id, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || id <= 0 {
			return nil // None has ended, or none is left.
		}
		command, ours := s.running[id]
		if !ours {
			continue
		}
		delete(s.running, id)
		if err := s.ended(command, status); err != nil {
			return err
		}
	}
}

func (s *supervisor) ended(command config.Command, status unix.WaitStatus) error {
	s.log.Printf("%s ended: %s", command.Name, describe(status))
	if command.Once && status.ExitStatus() == 0 {
		s.pending--
		return nil
	}
	if s.attempts[command.Name] >= startAttempts && !s.hasComeUp() {
		return s.giveUp(command, describe(status))
	}
	time.AfterFunc(restartDelay, func() { s.restart <- command })
	return nil
}

func (s *supervisor) hasComeUp() bool {
	_, err := os.Stat(s.spec.Cluster.Ready())
	return err == nil
}

func (s *supervisor) giveUp(command config.Command, status string) error {
	return fail(s.spec.Cluster.Node(s.spec.Name), command.Name, fmt.Errorf("%s: %s", command.Name, status))
}

func describe(status unix.WaitStatus) string {
	if status.Signaled() {
		return "killed by " + unix.SignalName(status.Signal())
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

func waitUntilReachable(targets []string) {
	for len(targets) > 0 {
		targets = slices.DeleteFunc(slices.Clone(targets), reachable)
		time.Sleep(50 * time.Millisecond)
	}
}
