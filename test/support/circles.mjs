/**
 * Circles in a graph of imports.
 * @param {ReadonlyMap<string, readonly string[]>} imports the files that each file imports; others are ignored
 * @returns {string[][]} a circle for each edge that closes one, as the files along it, the first repeated at the end
 */
export function circlesOf(imports) {
  const circles = [];
  const done = new Set();
  /** @type {string[]} */
  const path = [];
  const visit = (file) => {
    if (path.includes(file)) return void circles.push([...path.slice(path.indexOf(file)), file]);
    if (done.has(file)) return;
    path.push(file);
    for (const target of imports.get(file)) if (imports.has(target)) visit(target);
    path.pop();
    done.add(file);
  };
  for (const file of imports.keys()) visit(file);
  return circles;
}
