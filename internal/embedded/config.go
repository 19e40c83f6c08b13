package embedded

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// database is the one database the application's user may use.
const database = "nextbest"

// tableEngines are the engines the application may create tables with.
var tableEngines = []string{"MergeTree", "ReplacingMergeTree", "AggregatingMergeTree", "SummingMergeTree", "Memory", "View", "MaterializedView", "Join", "Set", "Null", "Dictionary"}

// settings is what the configuration files are made from.
type settings struct {
	dir      string
	port     int
	password string
	memory   int64 // bytes, whole engine
	grants   []string
}

// write puts config.xml and users.xml into the engine's folder. The caller
// holds the folder's lock.
func (s settings) write() error {
	for name, text := range map[string]string{"config.xml": s.config(), "users.xml": s.users()} {
		path := filepath.Join(s.dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return fmt.Errorf("configuration of the embedded ClickHouse: %w", err)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			return fmt.Errorf("configuration of the embedded ClickHouse: %w", err)
		}
	}
	return nil
}

// config is the server's configuration: one port on the loopback interface,
// bounded memory and caches, a rotated log.
func (s settings) config() string {
	return fmt.Sprintf(`<clickhouse>
  <users_config>users.xml</users_config>
  <listen_host>127.0.0.1</listen_host>
  <tcp_port>%d</tcp_port>
  <timezone>UTC</timezone>
  <max_server_memory_usage>%d</max_server_memory_usage>
  <mark_cache_size>%d</mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <index_uncompressed_cache_size>0</index_uncompressed_cache_size>
  <max_connections>256</max_connections>
  <logger><log>%s</log><size>20M</size><count>3</count></logger>
</clickhouse>
`, s.port, s.memory, min(s.memory/8, 128<<20), escape(filepath.Join(s.dir, "engine.log")))
}

// users is the list of users. The bootstrap user "default" cannot be removed:
// the engine's own session takes its only slot, and it may do nothing but open
// the port. The application's user may use its own database and nothing that
// reaches files, other servers or the engine itself.
func (s settings) users() string {
	grants := []string{
		"GRANT ALL ON " + database + ".*",
		"GRANT CREATE TEMPORARY TABLE ON *.*",
		"GRANT SELECT ON system.parts", "GRANT SELECT ON system.tables", "GRANT SELECT ON system.columns", "GRANT SELECT ON system.databases",
		"GRANT SELECT ON system.disks", "GRANT SELECT ON system.processes", "GRANT SELECT ON system.metrics", "GRANT SELECT ON system.asynchronous_metrics",
		"GRANT SELECT ON system.mutations", "GRANT SELECT ON system.merges", "GRANT SELECT ON system.settings", "GRANT SELECT ON system.one", "GRANT SELECT ON system.numbers",
	}
	for _, e := range tableEngines {
		grants = append(grants, "GRANT TABLE ENGINE ON "+e)
	}
	var app strings.Builder
	for _, g := range append(grants, s.grants...) {
		fmt.Fprintf(&app, "<query>%s</query>", escape(g))
	}
	return fmt.Sprintf(`<clickhouse>
  <profiles>
    <default/>
    <bootstrap><max_sessions_for_user>1</max_sessions_for_user></bootstrap>
    <app>
      <async_insert>0</async_insert>
      <max_memory_usage>%d</max_memory_usage>
      <max_bytes_before_external_sort>%d</max_bytes_before_external_sort>
      <max_bytes_before_external_group_by>%d</max_bytes_before_external_group_by>
    </app>
  </profiles>
  <quotas><default/></quotas>
  <users>
    <default><no_password/><networks><ip>127.0.0.1</ip></networks><profile>bootstrap</profile><quota>default</quota><grants><query>GRANT SYSTEM LISTEN ON *.*</query></grants></default>
    <app><password_sha256_hex>%x</password_sha256_hex><networks><ip>127.0.0.1</ip></networks><profile>app</profile><quota>default</quota><grants>%s</grants></app>
  </users>
</clickhouse>
`, s.memory/4*3, s.memory/4, s.memory/4, sha256.Sum256([]byte(s.password)), app.String())
}

// escape makes text safe inside an XML element.
func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}
