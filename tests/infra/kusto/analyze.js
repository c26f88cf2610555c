// Reads {"tables": {name: columns}, "queries": [text]} and writes what is wrong with each query, as a list of lists.
const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");

// The library is made for browsers: scripts that share a global object.
globalThis.window = globalThis.self = globalThis;
const library = path.dirname(require.resolve("@kusto/language-service-next"));
for (const script of ["bridge.min.js", "Kusto.Language.Bridge.min.js"]) {
  vm.runInThisContext(fs.readFileSync(path.join(library, script), "utf8"), script);
}

const { GlobalState, KustoCode, Symbols } = globalThis.Kusto.Language;
const asked = JSON.parse(fs.readFileSync(0, "utf8"));
const tables = Object.entries(asked.tables).map(([name, columns]) =>
  Symbols.TableSymbol.From(`(${columns})`).WithName(name),
);
const workspace = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.ctor("workspace", tables));

function faults(query) {
  const found = KustoCode.ParseAndAnalyze(query, workspace).GetDiagnostics();
  const faults = [];
  for (let i = 0; i < found.Count; i++) {
    const fault = found.getItem(i);
    faults.push(`${fault.Message} (${query.slice(fault.Start, fault.Start + fault.Length)})`);
  }
  return faults;
}

process.stdout.write(JSON.stringify(asked.queries.map(faults)));
