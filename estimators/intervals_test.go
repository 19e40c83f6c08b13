package estimators

import "testing"

func TestIntervalWarnings(t *testing.T) {
	for _, k := range Intervals() {
		if f, ok := FindInterval(k.Name); !ok || f.Source == "" || f.Holds == "" {
			t.Errorf("%s: %+v", k.Name, f)
		}
		few, many := k.Warning(Diagnostics{EffectiveConversions: 24}), k.Warning(Diagnostics{EffectiveConversions: 500})
		switch k.Name {
		case "empirical_likelihood", "betting", "empirical_bernstein":
			if few != "" || many != "" {
				t.Errorf("%s warns: %q, %q", k.Name, few, many)
			}
		case "clopper_pearson":
			if many == "" {
				t.Errorf("%s does not warn", k.Name)
			}
		default:
			if few == "" || many != "" {
				t.Errorf("%s: %q at 24, %q at 500", k.Name, few, many)
			}
		}
	}
	if _, ok := FindInterval("wald"); ok {
		t.Error("an interval that does not exist")
	}
	// One large contribution among many leaves few effective ones.
	var d Weighing
	for i := range 200 {
		c := Customer{Rows: 1, AbsShare: 1}
		if i == 0 {
			c.AbsShare = 100
		}
		d.Add(&c)
	}
	near(t, "effective conversions", d.Estimate().EffectiveConversions, 299.0*299/(199+10000), 1e-12)
}
