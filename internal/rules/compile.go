package rules

import (
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
)

// Problem is one thing that is wrong with a rule's source.
type Problem struct {
	Line    int // 1-based
	Column  int // 1-based, in characters
	Message string
	Cure    string // what to write instead; "" where nothing better is known
}

// CompileError lists what is wrong with a rule.
type CompileError struct {
	Source   string
	Problems []Problem
}

// Error names the first problem's place, what is wrong and the cure.
func (e *CompileError) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "line %d, column %d: %s", p.Line, p.Column, p.Message)
		if p.Cure != "" {
			fmt.Fprintf(&b, " (%s)", p.Cure)
		}
	}
	return b.String()
}

// Only macros whose result does not depend on the order in which a map's keys
// are visited are offered, so that a rule gives the same value when repeated.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.ClearMacros(),
		cel.Macros(cel.HasMacro, cel.AllMacro, cel.ExistsMacro, cel.ExistsOneMacro),
		cel.Variable("customer", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("context", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("action", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("now", cel.TimestampType),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(MaxLength),
		cel.ParserRecursionLimit(MaxDepth),
		cel.ParserErrorRecoveryLimit(4),
		cel.RegexProgramSizeLimit(1000),
		cel.ExpressionNodeLimit(MaxNodes),
		cel.ExpressionNestingDepthLimit(MaxDepth),
	)
})

// Compile checks a rule and makes it ready to run. The error, a *CompileError,
// names line and column of each problem and what to write instead.
func Compile(source string) (*Rule, error) {
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("rule environment: %w", err)
	}
	fail := func(p ...Problem) (*Rule, error) { return nil, &CompileError{Source: source, Problems: p} }
	if strings.TrimSpace(source) == "" {
		return fail(Problem{Line: 1, Column: 1, Message: "the rule is empty", Cure: "write a condition, such as context.recency < 3"})
	}
	if len(source) > MaxLength {
		return fail(Problem{Line: 1, Column: 1, Message: fmt.Sprintf("the rule has %d bytes; at most %d are allowed", len(source), MaxLength), Cure: "split the action, or compute the condition as a feature"})
	}
	checked, issues := env.Compile(source)
	if issues != nil && issues.Err() != nil {
		var problems []Problem
		for _, e := range issues.Errors() {
			problems = append(problems, problem(max(e.Location.Line(), 1), max(e.Location.Column(), 0)+1, e.Message))
		}
		if len(problems) == 0 {
			problems = append(problems, problem(1, 1, issues.Err().Error()))
		}
		return fail(problems...)
	}
	if !checked.OutputType().IsExactType(cel.BoolType) && !checked.OutputType().IsExactType(cel.DynType) {
		return fail(Problem{Line: 1, Column: 1, Message: fmt.Sprintf("the rule's value is a %s, not true or false", checked.OutputType()), Cure: "compare it with something, such as " + firstLine(source) + " == …"})
	}
	if p := identifiers(checked.NativeRep()); len(p) > 0 {
		return fail(p...)
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if !bounded(checked.NativeRep().Expr()) {
		options = append(options, cel.CostLimit(MaxCost))
	}
	program, err := env.Program(checked, options...)
	if err != nil {
		return fail(Problem{Line: 1, Column: 1, Message: err.Error()})
	}
	return &Rule{source: source, program: program}, nil
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

func problem(line, column int, message string) Problem {
	p := Problem{Line: line, Column: column, Message: message}
	if name, ok := strings.CutPrefix(message, "undeclared reference to '"); ok {
		name, _, _ = strings.Cut(name, "'")
		switch name {
		case "map", "filter":
			p.Cure = "use exists, exists_one or all"
		case "AND", "and":
			p.Cure = "write &&"
		case "OR", "or":
			p.Cure = "write ||"
		case "NOT", "not":
			p.Cure = "write !"
		default:
			p.Cure = fmt.Sprintf("the variables are customer, context, action and now: context.%s or customer.%s?", name, name)
		}
		return p
	}
	switch {
	case strings.Contains(message, "token recognition error at: '='"), strings.Contains(message, "'= "):
		p.Cure = "write == to compare"
	case strings.Contains(message, "found no matching overload"):
		p.Cure = "both sides must have types that go together; numbers from the call are doubles, so write 1.0 rather than 1 in arithmetic"
	case strings.Contains(message, "Syntax error"):
		p.Cure = "join conditions with && and ||, compare with == < >, quote texts"
	}
	return p
}

// identifiers finds uses of the identifiers that the log never holds; a rule
// over them could not be repeated.
func identifiers(a *ast.AST) []Problem {
	var problems []Problem
	ast.PreOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		var of ast.Expr
		var field string
		switch e.Kind() {
		case ast.SelectKind:
			of, field = e.AsSelect().Operand(), e.AsSelect().FieldName()
		case ast.CallKind:
			c := e.AsCall()
			if c.FunctionName() != "_[_]" || len(c.Args()) != 2 || c.Args()[1].Kind() != ast.LiteralKind {
				return
			}
			of = c.Args()[0]
			if s, ok := c.Args()[1].AsLiteral().(types.String); ok {
				field = string(s)
			}
		default:
			return
		}
		if of.Kind() == ast.IdentKind && of.AsIdent() == "customer" && Identifier(field) {
			at := a.SourceInfo().GetStartLocation(e.ID())
			problems = append(problems, Problem{
				Line: max(at.Line(), 1), Column: max(at.Column(), 0) + 1,
				Message: fmt.Sprintf("customer.%s identifies the customer and is not available to rules", field),
				Cure:    "use an attribute of the customer, or a feature of the context",
			})
		}
	}))
	return problems
}

// Identifier reports whether a field of customer identifies a person. Such
// fields never reach rules, features or the log.
func Identifier(field string) bool { return field == "id" || field == "type" }

// bounded reports whether e's cost is bounded by its own size: no loops, and
// no functions whose work grows with the texts they are given. Such a rule
// runs without cost tracking, which doubles its speed.
func bounded(e ast.Expr) bool {
	ok := true
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.IdentKind, ast.LiteralKind, ast.SelectKind:
		case ast.ListKind:
		case ast.CallKind:
			switch e.AsCall().FunctionName() {
			case "_&&_", "_||_", "!_", "_?_:_", "_<_", "_<=_", "_>_", "_>=_":
			case "_==_", "_!=_":
				// Lists and maps compare element by element: one side must be plain.
				if !plain(e.AsCall().Args()[0]) && !plain(e.AsCall().Args()[1]) {
					ok = false
				}
			case "@in":
				if e.AsCall().Args()[1].Kind() != ast.ListKind {
					ok = false
				}
			default:
				ok = false
			}
		default:
			ok = false
		}
	}))
	return ok
}

func plain(e ast.Expr) bool { return e.Kind() == ast.LiteralKind }
