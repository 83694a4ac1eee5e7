// Type-aware linting of the TypeScript sources; plain rules for the scripts beside them.
import tseslint from "typescript-eslint";

export default tseslint.config(
  // Two examples are left to their own compilers: they import the packed library, and one is JSX.
  {
    ignores: [
      "dist/",
      "build/",
      "runs/",
      "**/node_modules/",
      "docs/examples/next/",
      "docs/examples/typescript/",
    ],
  },
  {
    files: ["**/*.ts", "**/*.tsx"],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      eqeqeq: "error",
      "no-console": "off",
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "inline-type-imports" }],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      // Indices are checked by noUncheckedIndexedAccess; `!` says that a loop's bound proves them.
      "@typescript-eslint/no-non-null-assertion": "off",
      // chai's assertions read as expressions, and test tables build messages from anything.
      "@typescript-eslint/no-unused-expressions": "off",
      "@typescript-eslint/restrict-template-expressions": "off",
    },
  },
  {
    files: ["**/*.mjs", "**/*.cjs"],
    extends: [tseslint.configs.base],
    rules: { eqeqeq: "error", "no-undef": "off", "prefer-const": "error" },
  },
);
