// Package embedded brings up the two engines inside this program when no
// address is given: ClickHouse as a supervised child process and NATS JetStream
// as a server in this process. Neither can be reached from another machine, and
// both die with the program.
//
// A program that embeds ClickHouse calls ChildMain as the first line of main,
// because the engine runs in a copy of the program's own executable:
//
//	func main() {
//		embedded.ChildMain()
//		…
//		folder, err := embedded.LockFolder(dir)           // before either engine
//		library, err := embedded.FetchLibrary(ctx, show)  // once per machine
//		ch, err := embedded.StartClickHouse(ctx, embedded.ClickHouseOptions{Dir: …, Library: library})
//		go ch.Run(ctx)                                    // restarts it when it ends
//
// DESIGN.md beside this file says why it is built this way.
package embedded
