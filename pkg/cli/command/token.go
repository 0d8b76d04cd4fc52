package command

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"kedge/pkg/config"
)

// Token describes a token of the cluster, without its secret.
type Token struct {
	ID          string    `json:"id"`
	Role        string    `json:"role"`
	Description string    `json:"description,omitempty"`
	Created     time.Time `json:"created"`
	Expires     time.Time `json:"expires,omitzero"` // zero: never
}

// NewToken is what a new token is to be like.
type NewToken struct {
	Role        string // agent or server
	TTL         time.Duration
	Description string
}

// Tokens are those of the cluster whose server this machine is.
type Tokens interface {
	Create(ctx context.Context, t NewToken) (string, error)
	List(ctx context.Context) ([]Token, error)
	Delete(ctx context.Context, name string) error
}

// defaultTTL is how long a token is good for.
const defaultTTL = 24 * time.Hour

func (a *app) tokenCommand() *cobra.Command {
	cmd := group("token", "Make, list and delete the tokens with which machines join", "create, list or delete")
	cmd.AddCommand(a.tokenCreateCommand(), a.tokenListCommand(), a.tokenDeleteCommand())
	return cmd
}

// tokenOptions adds the flags that say which cluster is meant.
func (a *app) tokenOptions(cmd *cobra.Command) func() (Tokens, error) {
	o := addOptions(cmd, config.RoleServer, "config", "data-dir", "write-kubeconfig")
	return func() (Tokens, error) {
		sources, err := o.load(a)
		if err != nil {
			return nil, err
		}
		layout, err := sources.Layout()
		if err != nil {
			return nil, err
		}
		return a.Tokens(layout, sources.Text("write-kubeconfig"))
	}
}

func (a *app) tokenCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create", Short: "Make a token with which machines join", Args: noArgs,
		Long: "Makes a token and prints it, and nothing else, on standard output. Whoever has it can join the cluster until it\n" +
			"expires or is deleted, with as many machines as they like. It holds the fingerprint of the cluster's root, so that\n" +
			"a joining machine recognizes the server before it sends the secret. Needs root on a running server.",
	}
	tokens := a.tokenOptions(cmd)
	role := cmd.Flags().String("role", "agent", "what a machine may join as: agent or server")
	ttl := cmd.Flags().Duration("ttl", defaultTTL, "how long the token is good for, such as 30m or 48h; 0 is for ever")
	description := cmd.Flags().String("description", "", "a note about the token, shown by kedge token list")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case *role != string(config.RoleAgent) && *role != string(config.RoleServer):
			return wrongUse("--role: %q is not known; want agent or server", *role)
		case *ttl < 0:
			return wrongUse("--ttl: %s is less than nothing; 0 is for ever", *ttl)
		}
		t, err := tokens()
		if err != nil {
			return err
		}
		text, err := t.Create(cmd.Context(), NewToken{Role: *role, TTL: *ttl, Description: *description})
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(a.Out, text); err != nil {
			return fmt.Errorf("write token: %w", err)
		}
		return nil
	}
	return cmd
}

func (a *app) tokenListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the tokens, without their secrets", Args: noArgs,
		Long: "Lists the tokens of the cluster, the oldest first. Expired ones are shown for a week.",
	}
	tokens, output := a.tokenOptions(cmd), outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		format, err := output()
		if err != nil {
			return err
		}
		t, err := tokens()
		if err != nil {
			return err
		}
		all, err := t.List(cmd.Context())
		if err != nil {
			return err
		}
		if format == "json" {
			return a.writeJSON(all)
		}
		return a.writeRows(tokenRows(all, time.Now()))
	}
	return cmd
}

func tokenRows(all []Token, now time.Time) [][]string {
	rows := [][]string{{"ID", "ROLE", "CREATED", "EXPIRES", "STATE", "DESCRIPTION"}}
	for _, t := range all {
		expires, state := "never", "good"
		if !t.Expires.IsZero() {
			expires = minute(t.Expires)
			if !now.Before(t.Expires) {
				state = "expired"
			}
		}
		rows = append(rows, []string{t.ID, t.Role, minute(t.Created), expires, state, t.Description})
	}
	return rows
}

func (a *app) tokenDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "delete TOKEN...", Short: "Delete tokens, so that no machine joins with them any more",
		Long: "Deletes tokens, named by their ids or written whole. Machines that have joined with them stay.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return wrongUse("%s needs the id of a token; kedge token list shows them", cmd.CommandPath())
			}
			return nil
		},
	}
	tokens := a.tokenOptions(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t, err := tokens()
		if err != nil {
			return err
		}
		for _, name := range args {
			if err := t.Delete(cmd.Context(), name); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}
