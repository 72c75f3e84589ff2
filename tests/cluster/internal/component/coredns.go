package component

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
	_ "github.com/coredns/coredns/plugin/template"
)

// The order of the plugins is the order in which a query passes them.
func coreDNS() int {
	dnsserver.Directives = []string{"errors", "ready", "reload", "cache", "kubernetes", "template"}
	coremain.Run()
	return 0
}
