package command

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"kedge/pkg/config"
)

// EtcdMember is one server's part of the datastore.
type EtcdMember struct {
	ID    string   `json:"id"`
	Name  string   `json:"name"`
	URLs  []string `json:"urls"`
	State string   `json:"state"` // leader, voter, learner, unreachable or not started
}

// Etcd is the datastore of the cluster whose server this machine is.
type Etcd interface {
	Members(ctx context.Context) ([]EtcdMember, error)
	Remove(ctx context.Context, name string) error
}

func (a *app) etcdCommand() *cobra.Command {
	cmd := group("etcd", "Look after the servers' datastore", "member")
	member := group("member", "List and remove the members of the datastore", "list or remove")
	member.AddCommand(a.memberListCommand(), a.memberRemoveCommand())
	cmd.AddCommand(member)
	return cmd
}

func (a *app) etcdOptions(cmd *cobra.Command) func() (Etcd, error) {
	o := addOptions(cmd, config.RoleServer, "config", "data-dir")
	return func() (Etcd, error) {
		layout, err := o.layout(a)
		if err != nil {
			return nil, err
		}
		return a.Etcd(layout)
	}
}

func (a *app) memberListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the members: one for each server", Args: noArgs,
		Long: "Lists the members as this server's knows them, also when too many are lost for the datastore to work.\n" +
			"Needs root on a running server.",
	}
	etcd, output := a.etcdOptions(cmd), outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		format, err := output()
		if err != nil {
			return err
		}
		e, err := etcd()
		if err != nil {
			return err
		}
		all, err := e.Members(cmd.Context())
		if err != nil {
			return err
		}
		if format == "json" {
			return a.writeJSON(all)
		}
		rows := [][]string{{"NAME", "ID", "STATE", "ADDRESS"}}
		for _, m := range all {
			name := m.Name
			if name == "" {
				name = "-"
			}
			rows = append(rows, []string{name, m.ID, m.State, strings.Join(m.URLs, ",")})
		}
		return a.writeRows(rows)
	}
	return cmd
}

func (a *app) memberRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove NAME", Short: "Remove a member that is lost for ever", Args: oneMember,
		Long: "Removes a member, given by the name of its server or its id. A server that is running ends when it is removed; kedge reset\n" +
			"prepares it for joining again. Members of deleted Nodes are removed by themselves.",
	}
	etcd := a.etcdOptions(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		e, err := etcd()
		if err != nil {
			return err
		}
		return e.Remove(cmd.Context(), args[0])
	}
	return cmd
}

func oneMember(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return wrongUse("%s needs the name of one member; kedge etcd member list shows them", cmd.CommandPath())
	}
	return nil
}
