package node

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"easel.dev/tests/cluster/internal/config"
	"easel.dev/tests/cluster/internal/layout"
)

// uplink is the node's end of its cable.
const uplink = "eth0"

// Network is what a node configures inside its namespace.
type Network struct {
	Address netip.Prefix `json:"address"`
	Gateway netip.Addr   `json:"gateway"`
	// Pods of the other nodes, by the address of their node.
	Routes map[netip.Addr]netip.Prefix `json:"routes,omitempty"`
}

func newNetwork(node config.Node) Network {
	network := Network{
		Address: netip.PrefixFrom(node.Slot.Node(node.Number), node.Slot.NodeNetwork().Bits()),
		Gateway: node.Slot.Host(),
		Routes:  map[netip.Addr]netip.Prefix{},
	}
	for other := 1; other <= node.Nodes; other++ {
		if other != node.Number {
			network.Routes[node.Slot.Node(other)] = layout.NodePods(other)
		}
	}
	return network
}

// alias marks a bridge as the cluster's. The kernel keeps it, so that it outlives any file.
func alias(cluster layout.Cluster) string { return "easel cluster " + cluster.Dir }

// TakeSlot makes the cluster's bridge on the host, in the first slot that no other cluster has.
func TakeSlot(cluster layout.Cluster) (layout.Slot, error) {
	for slot := layout.Slot(0); slot < layout.Slots; slot++ {
		if _, err := netlink.LinkByName(slot.Bridge()); err == nil {
			continue
		}
		if err := addBridge(slot, alias(cluster)); err != nil {
			return 0, fmt.Errorf("make the bridge %s: %w", slot.Bridge(), err)
		}
		return slot, nil
	}
	return 0, fmt.Errorf("all %d slots for clusters are taken: `ip link` shows their bridges, easel0 and on", layout.Slots)
}

func addBridge(slot layout.Slot, alias string) error {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: slot.Bridge()}}
	if err := netlink.LinkAdd(bridge); err != nil {
		return err
	}
	if err := netlink.LinkSetAlias(bridge, alias); err != nil {
		return err
	}
	address := netip.PrefixFrom(slot.Host(), slot.NodeNetwork().Bits())
	if err := netlink.AddrAdd(bridge, &netlink.Addr{IPNet: ipNet(address)}); err != nil {
		return err
	}
	return netlink.LinkSetUp(bridge)
}

// PlugIn connects the namespace of a waiting node to the bridge.
func PlugIn(slot layout.Slot, node int, process Process) error {
	bridge, err := netlink.LinkByName(slot.Bridge())
	if err != nil {
		return fmt.Errorf("find the bridge %s: %w", slot.Bridge(), err)
	}
	cable := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: slot.Veth(node), MasterIndex: bridge.Attrs().Index},
		PeerName:      uplink,
		PeerNamespace: netlink.NsPid(process.ID),
	}
	if err := netlink.LinkAdd(cable); err != nil {
		return fmt.Errorf("make the cable %s: %w", cable.Name, err)
	}
	if err := netlink.LinkSetUp(cable); err != nil {
		return fmt.Errorf("set %s up: %w", cable.Name, err)
	}
	return nil
}

// RouteServices lets the host reach the cluster's Services through its first node.
func RouteServices(slot layout.Slot) error {
	route := &netlink.Route{Dst: ipNet(slot.ServiceNetwork()), Gw: slot.Node(1).AsSlice()}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("route %s: %w", slot.ServiceNetwork(), err)
	}
	return nil
}

// SlotsOf returns the slots whose bridges are the cluster's.
func SlotsOf(cluster layout.Cluster) ([]layout.Slot, error) {
	var slots []layout.Slot
	for slot := layout.Slot(0); slot < layout.Slots; slot++ {
		link, err := netlink.LinkByName(slot.Bridge())
		if isNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for the bridge %s: %w", slot.Bridge(), err)
		}
		if link.Attrs().Alias == alias(cluster) {
			slots = append(slots, slot)
		}
	}
	return slots, nil
}

// RemoveLinks removes the bridge, its routes and what is left of the cables.
func RemoveLinks(slot layout.Slot) error {
	names := make([]string, 0, layout.MaxNodes+1)
	for node := 1; node <= layout.MaxNodes; node++ {
		names = append(names, slot.Veth(node))
	}
	for _, name := range append(names, slot.Bridge()) {
		link, err := netlink.LinkByName(name)
		if isNotFound(err) {
			continue
		}
		if err == nil {
			err = netlink.LinkDel(link)
		}
		// A cable goes by itself some time after its namespace, perhaps just now.
		if err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("remove the link %s: %w", name, err)
		}
	}
	return nil
}

// configure sets up the network from inside the node's namespace.
func (n Network) configure() error {
	for name, address := range map[string]netip.Prefix{"lo": {}, uplink: n.Address} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
		if address.IsValid() {
			if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(address)}); err != nil {
				return fmt.Errorf("give %s the address %s: %w", name, address, err)
			}
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("set %s up: %w", name, err)
		}
	}
	routes := []*netlink.Route{{Gw: n.Gateway.AsSlice()}}
	for via, pods := range n.Routes {
		routes = append(routes, &netlink.Route{Dst: ipNet(pods), Gw: via.AsSlice()})
	}
	for _, route := range routes {
		if err := netlink.RouteAdd(route); err != nil {
			return fmt.Errorf("add the route %s: %w", route, err)
		}
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("forward packets: %w", err)
	}
	// A pod that calls a Service backed by its neighbour is answered across the bridge, past the rules that translate the
	// address back, unless bridged packets pass them too. The file is there when the kernel can do it.
	err := os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("1"), 0o644)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("filter bridged packets: %w", err)
	}
	return nil
}

func ipNet(prefix netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}
}

func isNotFound(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.As(err, &notFound)
}
