package node

import "golang.org/x/sys/unix"

// waitForEnd returns when the child has ended, and leaves it to be collected by another.
func waitForEnd(id int) error {
	for {
		err := unix.Waitid(unix.P_PID, id, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err
		}
	}
}
