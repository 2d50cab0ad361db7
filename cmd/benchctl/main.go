// Command benchctl measures what training a deep network costs in memory and
// time, for back-propagation and for methods that train locally.
//
// This package is flags, streams and exit codes. What is done is decided in
// package suite, how it is shown in the packages below reports.
package main

import "os"

func main() {
	env, err := processEnv()
	if err != nil {
		printError(os.Stderr, err)
		os.Exit(int(exitFailed))
	}
	os.Exit(int(run(env)))
}
