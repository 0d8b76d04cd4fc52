package repo

import (
	"fmt"
	"go/ast"
	"go/token"
	"strings"
)

// inspect lists what find says of the file's nodes, with their lines.
func inspect(s source, find func(ast.Node) string) []string {
	var found []string
	ast.Inspect(s.File, func(n ast.Node) bool {
		if n == nil {
			return false
		}
		if what := find(n); what != "" {
			found = append(found, fmt.Sprintf("%d: %s", s.line(n), what))
		}
		return true
	})
	return found
}

// calls lists the calls of package functions, such as os.Exit, that match.
func calls(s source, match func(function string) bool) []string {
	return inspect(s, func(n ast.Node) string {
		if call, ok := n.(*ast.CallExpr); ok && match(callee(call)) {
			return callee(call)
		}
		return ""
	})
}

// callee is the called function as it is written, when it is a name or a name of a package.
func callee(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			return x.Name + "." + f.Sel.Name
		}
	}
	return ""
}

func printsOrExits(function string) bool {
	for _, prefix := range []string{"fmt.Print", "log.Print", "log.Fatal", "klog.Fatal", "klog.Exit"} {
		if strings.HasPrefix(function, prefix) {
			return true
		}
	}
	return function == "os.Exit" || function == "print" || function == "println"
}

func packageState(s source) []string {
	if s.isTest() {
		return nil
	}
	var found []string
	for _, decl := range s.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.VAR {
			continue
		}
		for _, spec := range group.Specs {
			if v := spec.(*ast.ValueSpec); !harmless(v) {
				found = append(found, fmt.Sprintf("%d: var %s", s.line(v), v.Names[0].Name))
			}
		}
	}
	return found
}

// harmless reports whether nobody can change the variable's meaning after the start.
func harmless(v *ast.ValueSpec) bool {
	if v.Names[0].Name == "_" {
		return true
	}
	if t, ok := v.Type.(*ast.SelectorExpr); ok && t.Sel.Name == "FS" {
		return true
	}
	for _, value := range v.Values {
		call, ok := value.(*ast.CallExpr)
		if !ok || callee(call) != "errors.New" && callee(call) != "regexp.MustCompile" {
			return false
		}
	}
	return len(v.Values) > 0
}

// helpers are programs that products of this kind call.
const helpers = " arp bridge brctl conntrack ethtool ip ip6tables ip6tables-restore ip6tables-save ipset iptables iptables-restore" +
	" iptables-save ipvsadm losetup mkfs modprobe mount nft nsenter route sh bash sysctl systemctl tc umount unshare "

func helperPrograms(s source) []string {
	if !s.isProduct() {
		return nil
	}
	return inspect(s, func(n ast.Node) string {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return ""
		}
		switch callee(call) {
		case "exec.Command", "exec.CommandContext", "exec.LookPath", "os.StartProcess", "syscall.Exec", "unix.Exec":
		default:
			return ""
		}
		for _, arg := range call.Args {
			if literal, ok := arg.(*ast.BasicLit); ok && strings.Contains(helpers, " "+baseName(literal.Value)+" ") {
				return "runs " + literal.Value
			}
		}
		return ""
	})
}

func baseName(literal string) string {
	name := strings.Trim(literal, "\"`")
	return name[strings.LastIndexByte(name, '/')+1:]
}

// unwrappedErrors finds fmt.Errorf with an argument that is named like an error but no %w. A test may compare texts.
func unwrappedErrors(s source) []string {
	if s.isTest() {
		return nil
	}
	return inspect(s, func(n ast.Node) string {
		call, ok := n.(*ast.CallExpr)
		if !ok || callee(call) != "fmt.Errorf" {
			return ""
		}
		text, ok := call.Args[0].(*ast.BasicLit)
		if !ok || strings.Contains(text.Value, "%w") {
			return ""
		}
		for _, arg := range call.Args[1:] {
			if name, ok := arg.(*ast.Ident); ok && (name.Name == "err" || strings.HasSuffix(name.Name, "Err")) {
				return "fmt.Errorf with " + name.Name + " and without %w"
			}
		}
		return ""
	})
}
