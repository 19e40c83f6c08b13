package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"

	"nextbest/internal/api"
)

type policyExplorationCmd struct {
	remote
	policyVersion
	Placement string `help:"Placement that the policy would serve." required:"" placeholder:"ID"`
	JSON      bool   `help:"Print the prediction as JSON on standard output."`
}

// Run prints a line for each disagreement.
func (c *policyExplorationCmd) Run(ctx context.Context, t *terminal) error {
	server, done, err := c.connect(ctx, t)
	if err != nil {
		return err
	}
	defer done()
	var e api.Exploration
	path := "/v1/placements/" + url.PathEscape(c.Placement) + "/exploration?policy=" + url.QueryEscape(c.Policy)
	if _, err := server.Call(ctx, http.MethodGet, path, nil, &e); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(t.out, e)
	}
	fmt.Fprintf(t.out, "%s at %s: ε %.4g over %.3g actions", e.Policy, e.Placement, e.Epsilon, e.Eligible)
	if e.Logged {
		fmt.Fprintf(t.out, ", %.0f decisions a day, %.2f%% converted", e.DecisionsDaily, 100*e.ConversionRate)
	}
	fmt.Fprintln(t.out)
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "disagreement\tESS per 10,000\tESS a day\tdays to ESS 100\tdays to 20 conversions")
	show := func(v *float64) string {
		if v == nil {
			return "–"
		}
		return fmt.Sprintf("%.1f", *v)
	}
	for _, p := range e.Candidates {
		fmt.Fprintf(w, "%.1f\t%.0f\t%s\t%s\t%s\n", p.Disagreement, p.ESS, show(p.ESSDaily), show(p.DaysToESS), show(p.DaysToRewards))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, warning := range e.Warnings {
		fmt.Fprintln(t.out, "warning:", warning)
	}
	return nil
}
