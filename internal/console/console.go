package console

import (
	"embed"
	"io/fs"
	"net/http"
	"net/url"
	"sync"

	"github.com/gin-gonic/gin"
)

//go:embed static
var static embed.FS

// Cookie holds the API key of somebody who signed in. It is a key like any
// other: the API checks it, its role decides, revoking it signs out.
const Cookie = "nextbest_key"

// Keys tells whether an API key may open the console.
type Keys interface {
	MayRead(key string) error
}

// Console serves the page.
type Console struct {
	keys Keys

	mu    sync.Mutex
	links map[string]string // one-time token → API key
}

// New returns a console.
func New(keys Keys) *Console { return &Console{keys: keys, links: map[string]string{}} }

// Link makes a one-time link's path for an API key: opening it signs in with
// the key, once.
func (c *Console) Link(token, key string) (path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.links[token] = key
	return "/console/enter?token=" + url.QueryEscape(token)
}

// Mount adds the console's routes.
func (c *Console) Mount(r gin.IRouter) {
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	server := http.StripPrefix("/console/", http.FileServerFS(files))
	for _, path := range []string{"/", "/console"} {
		r.GET(path, func(g *gin.Context) { g.Redirect(http.StatusSeeOther, "/console/") })
	}
	r.GET("/console/", c.page(server))
	for _, name := range []string{"console.js", "charts.js", "console.css", "icon.svg"} {
		r.GET("/console/"+name, c.page(server))
	}
	r.GET("/console/enter", c.enter)
	r.POST("/console/login", c.login)
}

// page serves a file with headers that keep the page to itself.
func (c *Console) page(files http.Handler) gin.HandlerFunc {
	return func(g *gin.Context) {
		h := g.Writer.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		files.ServeHTTP(g.Writer, g.Request)
	}
}

// enter signs in by a one-time link.
func (c *Console) enter(g *gin.Context) {
	token := g.Query("token")
	c.mu.Lock()
	key, ok := c.links[token]
	delete(c.links, token)
	c.mu.Unlock()
	if !ok {
		refuse(g, "This link was used already or is not one of ours; give an API key instead.")
		return
	}
	signIn(g, key)
}

// login signs in with an API key.
func (c *Console) login(g *gin.Context) {
	g.Request.Body = http.MaxBytesReader(g.Writer, g.Request.Body, 4096)
	key := g.PostForm("key")
	if err := c.keys.MayRead(key); err != nil {
		refuse(g, "This key is not known, or its role may not read.")
		return
	}
	signIn(g, key)
}

func signIn(g *gin.Context, key string) {
	http.SetCookie(g.Writer, &http.Cookie{Name: Cookie, Value: key, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: g.Request.TLS != nil, MaxAge: 12 * 3600})
	// A page of our own, not a redirect: a browser that came from another site
	// would not send a strict cookie along a redirect.
	g.Header("Content-Security-Policy", "default-src 'none'")
	g.Header("Refresh", "0; url=/console/")
	g.Data(http.StatusOK, "text/html; charset=utf-8", []byte("<!doctype html><title>nextbest</title><p>Signed in. <a href=\"/console/\">Open the console</a></p>"))
}

func refuse(g *gin.Context, why string) {
	g.Redirect(http.StatusSeeOther, "/console/?refused="+url.QueryEscape(why))
}
