/** The first view: a model thinks about a puzzle, beside it what that is, and the button that trains another. */
import { useRef } from "preact/hooks";
import {
  beginEdit,
  canRedo,
  canUndo,
  chosenCell,
  chosenTool,
  clearPuzzle,
  drawingTool,
  editing,
  judgement,
  leaveEdit,
  pasteProblem,
  pasteText,
  redo,
  setCell,
  undo,
} from "../puzzles/editor.js";
import { familyOf } from "../../../hrm/drawing/cells.js";
import { toolsOf } from "../puzzles/cells.js";
import type { Task } from "../../../hrm/puzzles/tasks/task.js";
import { hardness } from "../puzzles/judge.js";
import { canMake } from "../puzzles/task_kinds.js";
import type { ModelInfo } from "../protocol.js";
import { SHIPPED } from "../models/shipped.js";
import { goOn, writeAddress } from "../state/client.js";
import {
  cursor,
  making,
  model,
  models,
  puzzle,
  score,
  step,
  task,
  thought,
  watched,
  type Puzzle,
} from "../state/page_state.js";
import { heldPuzzle, labelOf, nextHeld, showHeld, solvedAfter, wantNew, watch } from "../state/thinking.js";
import { AttentionMapsPanel } from "./attention.js";
import { Board } from "./board.js";
import { Caption, Scrubber } from "./scrubber.js";
import { Sparkline } from "./sparkline.js";
import { StartPanel } from "./start.js";

export function Watch() {
  return (
    <section id="watch" class="watch" aria-labelledby="watch-title">
      <div class="stage">
        <Board />
        <Scrubber />
        <PuzzleTools />
        <AttentionMapsPanel />
        <Legend />
      </div>
      <div class="story">
        <h2 id="watch-title">A slow planner and a fast worker take turns. Watch the answer improve.</h2>
        <p class="soft">
          This is a small Hierarchical Reasoning Model (HRM). Wang and others described it in a paper of 2025,
          which this page calls the paper.
        </p>
        <Levels />
        <Caption />
        <Verdict />
        <WhichModel />
        <Score />
        <StartPanel />
      </div>
    </section>
  );
}

/** The two parts of the model; the one that works at this update is lit. */
export function Levels() {
  const shown = thought.value?.thought;
  const update = cursor.value;
  const active = shown && update >= 0 ? shown.levels[update % shown.levels.length] : null;
  return (
    <div class="levels">
      <div class={`level H${active === "H" ? " active" : ""}`}>
        <b>Slow planner</b>
        <span>The paper calls it H. It makes a new plan when the worker is through.</span>
      </div>
      <div class={`level L${active === "L" ? " active" : ""}`}>
        <b>Fast worker</b>
        <span>The paper calls it L. It works out the details of each plan.</span>
      </div>
    </div>
  );
}

/** How many rounds the answer took. */
function Verdict() {
  const [shown, rules] = [thought.value, task.value];
  if (!shown || !rules) return <p class="verdict" />;
  const { segments } = shown.thought;
  const verdicts = Array.from({ length: segments }, (_, s) => solvedAfter(rules, shown, s, labelOf(shown)));
  const first = verdicts.indexOf(true);
  const end = verdicts[segments - 1];
  const text =
    end === null
      ? "Nobody told this page the rules, so that it cannot judge the answer."
      : end === true
        ? first === 0
          ? "Solved in the first round."
          : `Solved after ${first + 1} rounds: round 1 was not enough.`
        : `Not solved after ${segments} rounds.`;
  return (
    <p class="verdict" id="verdict">
      {text}{" "}
      <span class="soft">
        A round has {shown.thought.levels.length} turns. The paper calls a round a segment, and a turn an
        update.
      </span>
    </p>
  );
}

/** Which of two models is on the board. */
function WhichModel() {
  const { run, file } = models.value;
  // Its place is kept until the model is there, so that nothing below jumps.
  const shipped = !file || file.name === SHIPPED.file;
  return (
    <fieldset class="which">
      <legend>Whose thoughts you see</legend>
      <label>
        <input
          type="radio"
          name="source"
          checked={watched.value === "file"}
          disabled={!file}
          onChange={() => watch("file")}
        />
        {file && !shipped ? file.name : "A model trained earlier"}
      </label>
      <label>
        <input
          type="radio"
          name="source"
          checked={watched.value === "run"}
          disabled={!run}
          onChange={() => watch("run")}
        />
        The one that you train here
      </label>
      {!file && watched.value === "file" && <p class="soft">Opening it…</p>}
      {watched.value === "file" && file && (
        <p class="soft" id="origin">
          {shipped ? (
            <>
              It was trained earlier by <code>{SHIPPED.command}</code> in {file.step.toLocaleString("en")}{" "}
              steps. It has {file.parameters.toLocaleString("en")} numbers, and thinks in your browser right
              now.
            </>
          ) : (
            <>
              It has {file.parameters.toLocaleString("en")} numbers
              {file.step > 0 ? ` and was trained for ${file.step.toLocaleString("en")} steps` : ""}.{" "}
              {file.stuck}
            </>
          )}
        </p>
      )}
      {watched.value === "file" && file?.run && (
        <button type="button" id="go-on" onClick={() => void goOn()}>
          Go on training it from step {file.step.toLocaleString("en")}
        </button>
      )}
    </fieldset>
  );
}

/** The share of unseen puzzles that the watched model solves. */
export function Score() {
  const found = score.value;
  const unseen = model.value?.held.unseen !== false;
  return (
    <div class="score">
      <p id="score">
        {found ? (
          <>
            It solved <b>{found.solved}</b> of <b>{found.of}</b> puzzles{" "}
            {unseen ? "that it never saw" : "that are freshly made"}
            {watched.value === "run" ? `, after ${found.step.toLocaleString("en")} steps` : ""}.
          </>
        ) : watched.value === "run" ? (
          step.value === 0 ? (
            "It has not learned anything yet: its numbers are random."
          ) : (
            "It has not been tested yet."
          )
        ) : (
          "Counting how many puzzles it solves…"
        )}
      </p>
      <Sparkline />
    </div>
  );
}

/** What the marks on the board and below it mean. */
function Legend() {
  return (
    <details class="legend" id="legend">
      <summary>What the marks mean</summary>
      <dl>
        {MARKS.map(([kind, name, meaning]) => (
          <div key={name}>
            <dt>
              <span class={`sample ${kind}`} aria-hidden="true" />
              {name}
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

const MARKS = [
  ["cell symbol sure", "Tint", "The stronger it is, the surer the model is of this cell."],
  ["cell changed", "Ring", "This turn changed the cell."],
  ["cell broken", "Stripes", "The cell breaks a rule."],
  ["cell given", "Bold with a lock", "The puzzle gives this cell."],
  ["cell overwritten", "Dashed edge", "The model changed a cell that the puzzle gives."],
  ["short", "Short line below", "This is a turn of the worker."],
  ["tall", "Tall line below", "This is a turn of the planner."],
  [
    "stop",
    "Flag below",
    "Here the model first wants to stop. It goes on, so that you see what more turns do.",
  ],
] as const;

/** Another puzzle, a harder one, or the visitor's own. */
function PuzzleTools() {
  const dialogText = useRef<HTMLTextAreaElement>(null);
  const [rules, info, shown] = [task.value, model.value, puzzle.value];
  if (!rules || !info) return <div class="tools waiting" />;
  if (editing.value) return <EditTools text={dialogText} />;
  const makes = canMake(rules);
  const go = (index: number): void => {
    showHeld(index);
    writeAddress();
  };
  const busy = making.value || (!makes && info.held.count === 0);
  return (
    <div class="tools">
      <button
        type="button"
        id="another"
        aria-disabled={busy}
        onClick={() => (makes ? wantNew(false) : go(nextHeld()))}
      >
        Another puzzle
      </button>
      <button
        type="button"
        id="harder"
        aria-disabled={busy}
        onClick={() => (makes ? wantNew(true) : go(harderIndex(info, rules, shown)))}
      >
        A harder one
      </button>
      {toolsOf(rules).length > 0 && (
        <button type="button" id="edit" onClick={beginEdit}>
          Make your own
        </button>
      )}
      <p class="soft" id="puzzle-number" role="status">
        {making.value
          ? "Making a puzzle…"
          : shown && shown.index !== null
            ? `puzzle ${shown.index + 1} of ${info.held.count}`
            : shown?.made}
      </p>
      {makes && info.held.count > 0 && (
        <button type="button" class="link" id="next-held" onClick={() => go(nextHeld())}>
          {info.held.unseen ? "Next one that it never saw" : "Next one of the list"}
        </button>
      )}
    </div>
  );
}

/** The next harder of the held-out puzzles, or the hardest. */
function harderIndex(info: ModelInfo, rules: Task, shown: Puzzle | null): number {
  const level = (p: Puzzle | null): number => (p?.label ? hardness(rules, p.inputs, p.label) : 0);
  const now = level(shown);
  let best = -1;
  let least = Infinity;
  let hardest = 0;
  for (let i = 0; i < info.held.count; i++) {
    const value = level(heldPuzzle(info, i, rules.length));
    if (value > now && value < least) [least, best] = [value, i];
    if (value > level(heldPuzzle(info, hardest, rules.length))) hardest = i;
  }
  return best >= 0 ? best : hardest;
}

function EditTools({ text }: { text: { current: HTMLTextAreaElement | null } }) {
  const rules = task.value!;
  const verdict = judgement.value;
  return (
    <div class="tools editor">
      <p id="judgement" role="status" class={verdict?.solvable === false ? "bad" : ""}>
        {verdict?.text}
      </p>
      {familyOf(rules) === "maze" ? <DrawingTools /> : <CellTools />}
      <div class="palette">
        <button type="button" id="undo" aria-disabled={!canUndo.value} onClick={undo}>
          Undo
        </button>
        <button type="button" id="redo" aria-disabled={!canRedo.value} onClick={redo}>
          Redo
        </button>
        <button type="button" id="clear" onClick={clearPuzzle}>
          Clear
        </button>
        <button type="button" id="leave" onClick={leaveEdit}>
          Back to its puzzles
        </button>
      </div>
      <details>
        <summary>Paste a puzzle</summary>
        <textarea id="paste" aria-label="Puzzle as text" rows={4} ref={text} spellcheck={false} />
        <button type="button" id="use" onClick={() => pasteText(text.current?.value ?? "")}>
          Use this puzzle
        </button>
        {pasteProblem.value && (
          <p role="alert" class="bad">
            {pasteProblem.value}
          </p>
        )}
      </details>
      <p class="soft">
        {familyOf(rules) === "maze"
          ? "Draw on the board, or move by arrow keys and press W, S, G or space. Ctrl+Z takes back."
          : "Choose a cell, then type. Arrow keys move, Ctrl+Z takes back."}
      </p>
    </div>
  );
}

/** What goes into the chosen cell. */
function CellTools() {
  return (
    <div class="palette" role="group" aria-label="Put into the chosen cell">
      {toolsOf(task.value!).map(({ token, label }) => (
        <button
          type="button"
          key={token}
          onPointerDown={(event) => event.preventDefault()}
          onClick={() => setCell(chosenCell.value, token)}
        >
          {label}
        </button>
      ))}
    </div>
  );
}

/** What the pointer draws. */
function DrawingTools() {
  const now = drawingTool();
  return (
    <div class="palette" role="group" aria-label="Draw">
      {toolsOf(task.value!).map(({ token, label }) => (
        <button
          type="button"
          key={token}
          aria-pressed={token === now}
          data-tool={token}
          onClick={() => (chosenTool.value = token)}
        >
          {label}
        </button>
      ))}
    </div>
  );
}
