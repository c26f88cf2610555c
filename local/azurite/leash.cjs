// Ends Azurite, in order, when its standard input closes: also when the process that holds the other end is killed.
process.stdin.on("end", () => process.kill(process.pid, "SIGINT")).resume();
