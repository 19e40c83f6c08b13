// Command nextbest is the whole platform: it decides, logs with propensities,
// learns, evaluates offline and promotes. See README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"nextbest"
	"nextbest/internal/embedded"

	"github.com/alecthomas/kong"
)

// version is set by the release build.
var version = "dev"

// cli is the command line. Every flag can also be given in the environment
// and in the configuration file.
type cli struct {
	Config configFlag `help:"Configuration file (YAML); keys are the flags' names." placeholder:"FILE" env:"NEXTBEST_CONFIG"`

	Serve    serveCmd    `cmd:"" help:"Run the platform."`
	Demo     demoCmd     `cmd:"" help:"See the main job in one to two minutes: a fictional retailer, or real customers with --dataset."`
	Evaluate evaluateCmd `cmd:"" help:"Ask what policies would have earned, from the log."`
	Search   searchCmd   `cmd:"" help:"Search over hyperparameters on the log: train, choose, judge the winner on rows that nothing has touched."`
	Verify   verifyCmd   `cmd:"" help:"Replay logged decisions; fail if any distribution, draw or propensity differs."`
	Policy   policyCmd   `cmd:"" help:"Models of a policy: list, compare, learn again, roll back."`
	SQL      sqlCmd      `cmd:"" name:"sql" help:"Ask the log in SQL: one SELECT on its documented views, read-only."`
	Import   importCmd   `cmd:"" help:"Import decisions and rewards that were logged elsewhere."`
	Simulate simulateCmd `cmd:"" help:"Play a data set as a bandit, without a platform."`
	Bench    benchCmd    `cmd:"" help:"Measure the platform beside a baseline in the same run."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
	Help     helpCmd     `cmd:"" help:"Print this help."`
}

func main() {
	embedded.ChildMain() // becomes the ClickHouse child where this process was started as one
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run parses the command line and runs the command. It returns the exit code:
// 0 done, 1 failed, 2 wrong usage.
func run(ctx context.Context, args []string, stdout, stderr *os.File) int {
	var c cli
	exit := -1
	parser, err := kong.New(&c,
		kong.Name("nextbest"),
		kong.Description("Next Best Action with contextual bandits: decide, log with exact propensities, evaluate offline, promote against holdouts."),
		kong.Vars{"data": defaultData()},
		kong.Configuration(loadConfiguration),
		kong.NamedMapper("existingfile", kong.MapperFunc(existingFile)),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exit = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(&terminal{out: stdout, err: stderr}),
	)
	if err != nil {
		fmt.Fprintln(stderr, "nextbest:", err)
		return 2
	}
	hideEngines(parser.Model.Node)
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(joinNegatives(args))
	if exit >= 0 {
		return exit
	}
	if err != nil {
		fmt.Fprintf(stderr, "nextbest: %v\nRun nextbest --help, or nextbest <command> --help.\n", err)
		return 2
	}
	err = k.Run()
	switch {
	case err == nil, errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return 0
	case errors.Is(err, errFindings):
		return 1
	}
	fmt.Fprintln(stderr, "nextbest:", inLines(err))
	return 1
}

// inLines is an error as text, each of several problems on a line of its own.
func inLines(err error) string {
	text := err.Error()
	var e *nextbest.Error
	if !errors.As(err, &e) || len(e.Problems) < 2 {
		return text
	}
	before, found := strings.CutSuffix(text, e.Error())
	if !found {
		return text
	}
	var b strings.Builder
	b.WriteString(before + e.Message + ":")
	for _, p := range e.Problems {
		fmt.Fprintf(&b, "\n  %s: %s", p.Field, p.Message)
		if p.Cure != "" {
			fmt.Fprintf(&b, " (%s)", p.Cure)
		}
	}
	return b.String()
}

// errFindings ends a command whose finding is already printed with exit code 1.
var errFindings = errors.New("findings")

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(t *terminal) error {
	_, err := fmt.Fprintln(t.out, "nextbest", version)
	return err
}

type helpCmd struct{}

// Run prints the help of the program.
func (helpCmd) Run(k *kong.Context) error {
	k.Path = k.Path[:1]
	return k.PrintUsage(false)
}
