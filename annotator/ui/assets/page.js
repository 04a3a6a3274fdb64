// Composition root of the page: finds the landmarks of page.html, builds the parts, and connects them to the keys and
// the server. Every part gets what it needs as arguments; none imports this file.

import { createAddBox } from "./add_box.js";
import { ROOT } from "./address.js";
import { createBrowse } from "./browse.js";
import { createCalls, newestOnly } from "./calls.js";
import { askStale, createDialogs, showUnreadable } from "./dialogs.js";
import { sameTags, tagAt, tagKey } from "./draft.js";
import { createDrawer } from "./drawer.js";
import { createEffort } from "./effort.js";
import { showEffort } from "./effort_dialog.js";
import { make } from "./elements.js";
import { showExport } from "./export_dialog.js";
import { createFields } from "./fields.js";
import { createFirstSteps, factsList } from "./first_steps.js";
import { formatTypes } from "./formats.js";
import { createGroups } from "./groups.js";
import { createHeader, exportLinks, LOCAL_USER } from "./header.js";
import { createHeatMap } from "./heat_map.js";
import { createHints } from "./hints.js";
import { showImport } from "./import_dialog.js";
import { createKeyboard } from "./keyboard.js";
import { ACTIONS, DEFAULT_KEYS, keyName } from "./keys.js";
import { showKeys } from "./keys_dialog.js";
import { chooseLanguage, languageName } from "./language_choice.js";
import { searchOf } from "./library_address.js";
import { browserStorage, createLocalDrafts } from "./local_drafts.js";
import { createMessages } from "./messages.js";
import { tagNodes } from "./names.js";
import { createNeighbours } from "./neighbours.js";
import { showOrderRules } from "./order_dialog.js";
import { showPalette } from "./palette.js";
import { keepLease, logOut, renewSession, sayWhoHolds } from "./people.js";
import { createPhotoView } from "./photo_view.js";
import { showProjects } from "./projects_dialog.js";
import { createProposing } from "./proposing.js";
import { createReview } from "./review.js";
import { showSidecars } from "./sidecars_dialog.js";
import { changeText } from "./spoken.js";
import { writeStaticTexts } from "./static_texts.js";
import { createStillness } from "./stillness.js";
import { createStrip } from "./strip.js";
import { createSweep } from "./sweep.js";
import { createTagList } from "./tag_list.js";
import { showTagManager } from "./tag_manager.js";
import { Tagging } from "./tagging.js";
import { IS_RIGHT_TO_LEFT, LANGUAGES, phrase, phraseNodes, plural, pluralNodes } from "./texts.js";
import { createTimeline } from "./timeline.js";
import { createTraining } from "./training.js";
import { createVisitor } from "./visitor.js";
import { createWhy } from "./why.js";

const POLL_MS = 1000;
const SLOW_POLL_MS = 10_000; // while nothing is being read: photos may be added, and others may save
const RETRY_MS = 2000;
const KEYBOARD_SHARE = 0.8; // a window that is lower than this share of its tallest has a screen keyboard
const READING_MS = 20_000; // time in which newly added photos are read

/** Gradio calls this with the component's element and its server functions. */
export async function start({ element, server }) {
  const root = element.querySelector("#annotator");
  root.lang = LANGUAGES.language;
  root.dir = IS_RIGHT_TO_LEFT ? "rtl" : "ltr"; // Gradio's elements around it have a direction of their own
  writeStaticTexts(root);
  await styled();
  followTheme(root);
  root.hidden = false;

  const at = (id) => root.querySelector(`#${id}`);
  const call = createCalls(server, { renew: renewSession });
  const effort = createEffort();
  const dialogs = createDialogs(root);
  const messages = createMessages(at("banner"), at("status"), at("spoken"));
  const stillness = createStillness();
  const isTouch = window.matchMedia("(pointer: coarse)").matches;
  let keys = DEFAULT_KEYS;
  let numKnown = null; // photos of the project when the strip was shown

  const commands = {
    save: () => tagging.saveOrAsk(),
    accept: () => tagging.accept(),
    up: () => tagging.moveSelection(-1),
    down: () => tagging.moveSelection(1),
    move_up: () => tagging.moveSelected(-1),
    move_down: () => tagging.moveSelected(1),
    cut_up: () => tagging.moveCut(-1),
    cut_down: () => tagging.moveCut(1),
    drop: () => tagging.dropSelected(),
    never: () => tagging.neverSelected(),
    take_selected: () => tagging.takeSelected(),
    redo: () => tagging.redo(),
    zoom: () => photoView.toggle(),
    neighbours: showNeighbours,
    why: () => drawer.toggle("why"),
    unkeep: () => tagging.unkeepSelected(),
    skip: () => tagging.skip(),
    previous: () => tagging.step(-1),
    next: () => tagging.step(1),
    undo: () => tagging.undo(),
    browse: () => (browse.isOpen() ? browse.hide() : openBrowse()),
    heat_map: showOnPhoto,
    group: () => tagging.photo && groups.open().catch(showError),
    sweep: lookForSelected,
    review: openReview,
    timeline: () => (drawer.shown() === "history" ? leaveDrawer() : (drawer.show("history"), at("timeline-list").focus({ preventScroll: true }))),
    palette: () => showPalette(dialogs, paletteCommands()).catch(showError),
    fields: () => fields.focus() || messages.say(phrase("page.no_fields")),
    export: openExport,
    import: openImport,
    help: openKeys,
  };
  const ALWAYS = new Set(["previous", "next", "undo", "browse", "help", "palette", "review", "export", "import"]);
  const run = (action) => {
    if (tagging.phase !== "tagging" && !ALWAYS.has(action)) return;
    if (action !== "save") firstSteps.did(action); // a save is learnt once it is done
    commands[action]?.();
  };

  const training = createTraining({ call, dialogs, say: messages.say, onLive: () => tagging.refreshQuietly() });
  // Entries of the menu, which the palette lists too: an action of the key map, or something to run. null: a line; links:
  // the plain exports.
  const entries = [
    { id: "open-projects", label: phrase("menu.projects"), words: phrase("menu.projects.words"), run: openProjects },
    null,
    { links: true },
    { id: "open-export", label: phrase("menu.export"), action: "export", run: () => run("export") },
    { id: "open-import", label: phrase("menu.import"), action: "import", run: () => run("import") },
    { id: "open-tags", label: phrase("menu.tags"), words: phrase("menu.tags.words"), run: openTags },
    { id: "open-order", label: phrase("menu.order"), words: phrase("menu.order.words"), run: openOrderRules },
    null,
    { id: "open-effort", label: phrase("menu.effort"), words: phrase("menu.effort.words"), run: openEffort },
    { id: "open-model", label: phrase("menu.model"), words: phrase("menu.model.words"), run: () => training.open() },
    null,
    { id: "open-help", label: phrase("menu.help"), action: "help", run: () => run("help") },
    { id: "open-first-steps", label: phrase("menu.first_steps"), words: phrase("menu.first_steps.words"), run: openFirstSteps },
  ];
  const header = createHeader(at("header"), { entries, tag: () => browse.hide(), browse: () => browse.isOpen() || openBrowse(), palette: () => run("palette"), unreadable: () => showUnreadable(dialogs, call), notices: (sentences) => messages.trouble("notices", sentences.join(" ")), sidecars: openSidecars, review: openReview, chooseTagger, logOut, model: training.button });
  let watchUntil = 0;
  const visitor = createVisitor(root, { dialogs, say: messages.say, added: () => { watchUntil = Date.now() + READING_MS; tagging.refreshQuietly(); } });
  const photoView = createPhotoView(at("photo"), at("photo-facts"), { swipe: (by) => run(by < 0 ? "previous" : "next") });
  const heatMap = createHeatMap(photoView.heat, photoView.boxes, { call, place: photoView.placeHeat, say: messages.say });
  const tagList = createTagList(at("tag-list"), {
    take: (tag) => (firstSteps.did("take"), tagging.takeTag(tag)),
    select: (tag) => tagging.selectTag(tag),
    unkeep: (tag) => tagging.unkeepTag(tag),
    point: (tag) => tagging.photo && heatMap.point(tagging.photo.image_id, tag),
    place: (tag, to) => tagging.placeTag(tag, to),
    cut: (num_kept) => tagging.setCut(num_kept),
    accept: () => run("accept"),
  });
  const addBox = createAddBox(
    { input: at("add-input"), ghost: at("add-ghost"), literal: at("add-literal"), list: at("completions") },
    {
      complete: async (text) => (tagging.photo ? ((await tagging.complete(text))?.completions ?? null) : null),
      fallback: (text) => (tagging.draft?.proposals ?? []).filter(({ tag }) => tagKey(tag).startsWith(tagKey(text))).slice(0, 9),
      onAdd: (tag, numKeys, saves) => {
        const isOpen = tagging.phase === "tagging";
        if (isOpen) tagging.addTyped(tag, numKeys, { saves });
        if (isOpen) firstSteps.did("type");
        return isOpen;
      },
      onAddSeveral: (tags, numKeys) => {
        const isOpen = tagging.phase === "tagging";
        if (isOpen) tagging.addSeveral(tags, numKeys);
        if (isOpen) firstSteps.did("type");
        return isOpen;
      },
      isAccept: (name) => keys.accept.includes(name),
      onChange: () => {
        at("add-input").setAttribute("aria-activedescendant", addBox?.activeRow() ?? selectedRowId());
        renderHints();
      },
    },
  );
  const switches = {
    switchSource: (name) => tagging.switchSource(name),
    switchNeighbour: (id, name) => tagging.switchNeighbour(id, name),
  };
  const neighbours = createNeighbours(at("neighbours"), { take: takeFromNeighbour, together: () => run("group"), ...switches });
  const why = createWhy(at("why"), at("left-out"), { ...switches, never: () => run("never"), restore: () => tagging.restoreEvidence(), showOnPhoto: () => run("heat_map"), explain: newestOnly((tag) => call("explain", tagging.question(tag))) });
  const timeline = createTimeline(at("timeline"), { call, say: messages.say, show: (photo) => (tagging.show(photo, true), tagging.refreshQuietly()), leave: leaveDrawer });
  const drawer = createDrawer(
    at("drawer-tabs"),
    at("drawer"),
    {
      why: { id: "why-open", label: phrase("drawer.why"), action: "why", element: at("why") },
      alike: { id: "alike-open", label: phrase("drawer.alike"), action: "neighbours", element: at("neighbours") },
      history: { id: "open-timeline", label: phrase("drawer.history"), action: "timeline", element: at("timeline") },
    },
    { onShow: drawerShown, storage: browserStorage() },
  );
  const strip = createStrip(at("strip"), { call, open: (id) => tagging.openImage(id), onError: (error) => messages.say(error.message) });
  const firstSteps = createFirstSteps(at("first-steps"), { isTouch, say: messages.say, changed: () => tagging.photo && strip.show(tagging.photo.image_id, { fresh: true }) });
  const fields = createFields(at("fields"), { call, say: messages.say, leave: () => isTouch || addBox.focus() });
  const hints = createHints(at("actions"), at("foot-actions"), at("key-hints"), run);
  const browse = createBrowse(at("browse"), {
    call, say: messages.say, isTouch,
    open: (id) => tagging.openImage(id),
    onOpen: () => ((at("tagging").inert = true), header.setView("browse")),
    onClose: closeBrowse,
    changed(ids) {
      tagging.refreshQuietly();
      if (tagging.photo && ids.includes(tagging.photo.image_id)) tagging.openImage(tagging.photo.image_id);
    },
    exportThem: () => run("export"),
    orderThem: openOrderRules,
    manageTags: openTags,
    state: () => tagging.state,
    photo: () => tagging.photo,
  });

  const sweep = createSweep(at("offer"), dialogs, { call, say: messages.say, done: () => tagging.refreshQuietly() });

  const review = createReview(dialogs, { call, say: messages.say, edit: editAnswer, done: () => tagging.refreshQuietly() });

  const tagging = new Tagging({
    call,
    createProposing,
    localDrafts: createLocalDrafts(browserStorage()),
    effort,
    whenStill: stillness.whenStill,
    views: {
      changed: render,
      opened,
      edited: (before, after) => messages.speak(changeText(before, after)),
      saved: (photo, nowCommon, along) => {
        firstSteps.did("save");
        for (const id of [photo.image_id, ...along]) strip.mark(id, "saved");
        if (photo.save_as === "accept" && photo.state !== "accepted") review.open().catch(showError);
        if (nowCommon.length) sweep.propose(nowCommon).catch(showError);
      },
      say: messages.say,
      trouble: (name, sentence, buttons) => messages.trouble(name, sentence, buttons),
      clear: (name) => messages.clear(name),
      askStale: (versions) => askStale(dialogs, versions),
    },
  });

  const groups = createGroups(dialogs, { call, say: messages.say, tagging, effort, getKeys: () => keys, run, isTouch, onFound: (num) => drawer.setCount("alike", num) });
  at("drawer-tabs").prepend(groups.button);

  function lookForSelected() {
    const tag = tagAt(tagging.draft, tagging.draft.selected);
    if (tag === null) messages.say(phrase("page.select_first"));
    else sweep.lookFor(tag).catch(showError);
  }

  function showOnPhoto() {
    messages.say(heatMap.toggle(tagging.photo.image_id, tagAt(tagging.draft, tagging.draft.selected)));
    why.setShown(heatMap.isOn());
  }

  /** Show the look-alikes; where they are shown, the next kind of them. */
  function showNeighbours() {
    if (drawer.shown() === "alike") messages.say(neighbours.switchTab());
    else drawer.show("alike");
  }

  function drawerShown(name) {
    why.setOpen(name === "why");
    if (name === "history" && tagging.photo) timeline.open(tagging.photo);
  }

  function leaveDrawer() {
    drawer.close();
    if (!isTouch) addBox.focus();
  }

  /** Esc with an empty box: what is under way first, then what is open. */
  function escape() {
    const isDone = tagList.cancelDrag() || header.closeMenu();
    if (isDone) return;
    if (!tagging.leaveList()) drawer.close();
    addBox.focus();
    messages.clear();
  }

  /** Every action that can be done now, by its name and with its key. */
  function paletteCommands() {
    const groupOf = (action) => Object.entries(GROUPS).find(([, actions]) => actions.includes(action))?.[0] ?? phrase("palette.photo");
    const isPossible = (action) => tagging.phase === "tagging" || ALWAYS.has(action);
    const actions = Object.keys(ACTIONS).filter((action) => action !== "palette" && isPossible(action)).map((action) => ({
      id: action, label: ACTIONS[action], group: groupOf(action), keys: keys[action] ?? [], words: action.replaceAll("_", " "), run: () => run(action),
    }));
    const dialogsToOpen = entries.filter((entry) => entry?.run && !entry.action && (entry.id !== "open-projects" || tagging.state?.may_open_projects)).map((entry) => ({ ...entry, group: phrase("palette.project"), keys: [] }));
    const links = exportLinks().map((link) => ({ id: link.id, label: phrase("palette.export", { format: link.textContent }), group: phrase("palette.project"), keys: [], words: phrase("palette.export.words"), run: () => (root.append(link), link.click(), link.remove()) }));
    const languages = LANGUAGES.offered.filter((code) => code !== LANGUAGES.language).map((code) => ({
      id: `language-${code}`, label: phrase("palette.language", { language: languageName(code) }), group: phrase("palette.view"), keys: [], words: "language", run: () => chooseLanguage(code),
    }));
    return [...actions, ...languages, ...dialogsToOpen, ...links];
  }

  function openSidecars() {
    showSidecars(dialogs, {
      call,
      settled(image_id) {
        if (tagging.photo?.image_id === image_id) tagging.openImage(image_id);
        tagging.refreshQuietly();
      },
    });
  }

  function openExport() {
    if (!tagging.state || tagging.state.demo) return;
    showExport(dialogs, { call, found: browse.wanted(), photo: tagging.photo, picked: browse.picked() });
  }

  function openImport() {
    if (!tagging.state || tagging.state.demo) return;
    if (!tagging.state.may_administer) {
      messages.say(phrase("page.no_import"));
      return;
    }
    showImport(dialogs, {
      call,
      isHere: tagging.state.user === LOCAL_USER,
      changed() {
        tagging.refreshQuietly();
        tagging.openImage(tagging.photo?.image_id ?? null);
      },
    });
  }

  function openOrderRules() {
    if (!tagging.state || tagging.state.demo) return;
    showOrderRules(dialogs, {
      call,
      found: browse.wanted(),
      picked: browse.picked(),
      mayChange: tagging.state.may_administer,
      say: messages.say,
      changed() {
        tagging.refreshQuietly();
        tagging.openImage(tagging.photo?.image_id ?? null);
        if (browse.isOpen()) openBrowse();
      },
    });
  }

  async function openTags() {
    if (!tagging.state) return;
    let hasChanged = false;
    const showAgain = () => (tagging.openImage(tagging.photo?.image_id ?? null), browse.isOpen() && openBrowse());
    const changed = () => {
      hasChanged = true;
      tagging.refreshQuietly();
      if (!dialogs.isOpen()) showAgain();
    };
    const image_id = await showTagManager(dialogs, { call, isTouch, mayChange: tagging.state.may_administer, changed, say: messages.say });
    if (image_id) {
      if (browse.isOpen()) browse.hide();
      tagging.openImage(image_id);
    } else if (hasChanged) showAgain();
  }

  function openFirstSteps() {
    if (!tagging.state?.may_annotate) {
      messages.say(phrase("page.no_first_steps"));
      return;
    }
    if (browse.isOpen()) browse.hide();
    drawer.close();
    tagging.leaveList();
    firstSteps.restart();
  }

  function openProjects() {
    if (!tagging.state?.may_open_projects) {
      messages.say(phrase("page.no_projects"));
      return;
    }
    showProjects(dialogs, { call, go: (address) => location.assign(address) }).catch(showError);
  }

  function openReview() {
    if (tagging.state?.may_review) review.open().catch(showError);
    else messages.say(phrase("page.no_review"));
  }

  /** Open a photo with the list of an answer; saving it accepts the list. */
  async function editAnswer({ image_id, revision }, { tags, dropped }) {
    await call("propose", { image_id, kept: tags, dropped, revision });
    await tagging.openImage(image_id);
  }

  function showError(error) {
    if (error.kind === undefined) throw error;
    messages.say(error.message);
  }

  async function chooseStrategy(strategy) {
    const { queue } = await call("set_strategy", { strategy });
    tagging.refreshQuietly();
    return queue;
  }

  async function openEffort() {
    try {
      await tagging.refreshState(); // the ordering may have finished
    } catch (error) {
      if (error.kind === undefined) throw error;
      messages.say(error.message);
      return;
    }
    await showEffort(dialogs, { call, queue: tagging.state.queue, chooseStrategy });
    if (!isTouch) addBox.focus();
  }

  async function chooseTagger(name) {
    await tagging.chooseTagger(name);
    if (!isTouch) addBox.focus();
  }

  function takeFromNeighbour(tag) {
    if (tagging.phase !== "tagging") return;
    tagging.takeTag(tag, "take_neighbour");
    if (!isTouch) addBox.focus(); // the pressed button is replaced
  }

  function selectedRowId() {
    const selected = tagging?.draft?.selected;
    return selected ? `row-${selected.zone}-${selected.index + 1}` : "";
  }

  function opened(photo, freshStrip) {
    at("rest").hidden = true;
    at("tagging").hidden = false;
    tagList.toTop();
    photoView.show(photo, tagging.state.num_images);
    groups.follow(photo);
    if (drawer.shown() === "history") timeline.open(photo);
    heatMap.hide();
    fields.show(photo);
    firstSteps.opened();
    strip.show(photo.image_id, { fresh: freshStrip });
    document.title = phrase("page.title", { what: photo.file_name, project: tagging.state.project });
    sayWhoHolds(photo, messages, () => tagging.openImage(null));
    if (!isTouch && !dialogs.isOpen() && !browse.isOpen()) addBox.focus();
  }

  function render() {
    const { state, draft, phase, photo } = tagging;
    at("tagging").dataset.phase = phase;
    if (state) header.render(state);
    if (state && photo) followNumber(state.num_images, photo.image_id);
    if (state) training.tellVectors(state);
    if (state) visitor.render(state);
    if (state) firstSteps.render(state);
    hints.busy(phase === "busy");
    if (phase === "done") showRest(at("rest"), at("tagging"), state, visitor, { isFirst: firstSteps.isShown(), openProjects });
    if (!draft) return;
    tagList.render(draft, keys.accept);
    neighbours.render(tagging.neighbours, draft.kept, tagging.exclusions);
    why.render(draft, tagAt(draft, draft.selected), tagging.exclusions, tagging.photo.probe, tagging.order?.reasons);
    fields.follow(tagging.fields);
    renderOrder(at("saved-as"), tagging.order, draft.kept);
    heatMap.follow(tagging.photo.image_id, tagAt(draft, draft.selected));
    if (!addBox.hasText()) at("add-input").setAttribute("aria-activedescendant", selectedRowId());
    renderHints();
  }

  /** What can be done now: text is typed, a kept tag is selected, or neither. */
  function renderHints() {
    if (!tagging?.draft) return;
    const { draft, photo } = tagging;
    const isTyping = addBox.hasText();
    at("tags-card").classList.toggle("typing", isTyping);
    const context = isTyping ? "typing" : tagging.isInList && draft.selected?.zone === "kept" ? "kept" : "rest";
    hints.show({ context, addition: addBox.choice(), num_kept: draft.kept.length, accepts: photo.save_as === "accept" });
  }

  /** Photos were added: the strip shows them. */
  function followNumber(num_images, image_id) {
    if (num_images === numKnown) return;
    const isFirst = numKnown === null;
    numKnown = num_images;
    if (!isFirst) strip.show(image_id, { fresh: true });
  }

  function openKeys() {
    return showKeys(dialogs, {
      keys,
      store: async (wanted) => (await call("set_keys", { keys: wanted })).keys,
      onChange: setKeys,
      showExpected: tagging.state.show_expected,
      setShowExpected: (shown) => tagging.setShowExpected(shown),
      neverProposed: tagging.state.never_proposed,
      proposeAgain: async (tag) => (await tagging.setNeverProposed(tag, false), tagging.state.never_proposed),
    });
  }

  function setKeys(newKeys) {
    keys = { ...DEFAULT_KEYS, ...newKeys };
    hints.setKeys(keys);
    header.setKeys(keys);
    firstSteps.setKeys(keys);
    drawer.setKeys(keys);
    groups.render();
  }

  function openBrowse() {
    browse.show(tagging.photo ? tagging.photo.position - 1 : 0);
  }

  function closeBrowse() {
    at("tagging").inert = false;
    header.setView("tag");
    if (!isTouch) addBox.focus();
  }

  createKeyboard({
    getKeys: () => keys, run, addBox, escape, browse, dialogs, effort,
    takeNumber({ number, downTo, saves }) {
      if (tagging.phase !== "tagging") return;
      firstSteps.did("take");
      if (downTo) tagging.takeDownTo(number);
      else tagging.takeNumber(number, { saves });
    },
  });
  document.addEventListener("pointerdown", stillness.pressed, { capture: true });
  document.addEventListener("keydown", (event) => {
    stillness.pressed();
    const name = keyName(event);
    if (name && !keys.save.includes(name)) tagging.asksToSave = false;
  }, { capture: true });
  countEffort(root, effort);
  keepFocus(root);
  followScreenKeyboard(root, at("add-input"), isTouch);
  setKeys(keys);
  await begin();
  followAddress();
  window.addEventListener("popstate", followAddress);
  // Another tab may have saved meanwhile, or the server may have been restarted with more photos.
  document.addEventListener("visibilitychange", () => document.hidden || tagging.refreshQuietly());
  poll();
  keepLease(call, () => (tagging.state?.user === LOCAL_USER ? null : tagging.photo));

  async function begin() {
    try {
      await tagging.refreshState();
      setKeys(tagging.state.keys);
      await tagging.openImage(null);
    } catch (error) {
      if (error.kind === undefined) throw error;
      messages.trouble("start", phrase("page.trying_again", { problem: error.message }));
      await pause(RETRY_MS);
      messages.clear("start");
      await begin();
    }
  }

  /** Open the library with the search in the address bar, or close it where there is none. */
  function followAddress() {
    const asked = searchOf(location.hash);
    if (asked) browse.show(0, asked);
    else browse.hide({ byAddress: true });
  }

  async function poll() {
    let polledAt = 0;
    for (;;) {
      await pause(POLL_MS);
      const { state } = tagging;
      if (document.hidden || !state) continue;
      const isReading = state.ingest.running || state.detections?.running || state.vlm?.running || state.num_images === 0 || Date.now() < watchUntil;
      if (!isReading && performance.now() - polledAt < SLOW_POLL_MS) continue;
      polledAt = performance.now();
      try {
        await tagging.refreshState();
        messages.clear("poll");
        const isWaiting = tagging.phase === "done" && tagging.state.num_images > tagging.state.num_saved;
        if (isWaiting) await tagging.openImage(null);
      } catch (error) {
        if (error.kind === undefined) throw error;
        // At other times a server that is away is reported by what the user does next.
        if (isReading) messages.trouble("poll", phrase("page.trying_again", { problem: phrase("server.silent") }));
      }
    }
  }
}

/** Groups of the palette; an action that is in none belongs to the photo. */
const GROUPS = {
  [phrase("palette.go_to")]: ["previous", "next", "skip", "browse", "review"],
  [phrase("palette.view")]: ["zoom", "why", "neighbours", "timeline", "heat_map"],
  [phrase("palette.project")]: ["never", "sweep", "help"],
};

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Wait for the style sheet, which the document's head links, so that nothing is shown without it. */
async function styled() {
  let link = document.querySelector('link[rel="stylesheet"][href$="/ui/page.css"]');
  if (link?.sheet) return;
  if (!link) {
    link = make("link", { rel: "stylesheet", href: `${ROOT}ui/page.css` });
    document.head.append(link);
  }
  await new Promise((resolve, reject) => {
    link.addEventListener("load", resolve);
    link.addEventListener("error", () => reject(new Error(phrase("page.no_style"))));
  });
}

/** Gradio sets a class of the body for the dark theme; the page follows it. */
function followTheme(root) {
  const follow = () => {
    root.dataset.theme = document.body.classList.contains("dark") ? "dark" : "light";
  };
  new MutationObserver(follow).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  follow();
}

function showRest(rest, tagging, state, visitor, { isFirst, openProjects }) {
  const { num_images, num_saved, ingest } = state;
  if (visitor.isHere() && num_images === 0 && !ingest.running) return showEmpty(rest, tagging, visitor);
  const texts = num_images === 0
    ? ingest.running
      ? [phrase("rest.reading"), phrase("rest.reading_note")]
      : state.num_unreadable
        ? [phrase("rest.unreadable"), phrase("rest.unreadable_note", { types: formatTypes(state.unread_types), button: plural("header.unreadable", state.num_unreadable) })]
        : [phrase("rest.empty"), phrase("rest.empty_note")]
    : num_saved >= num_images
      ? [plural("rest.done", num_images), phrase("rest.done_note")]
      : [phrase("rest.waiting"), phrase(ingest.running ? "rest.waiting_reading" : "rest.waiting_note")];
  rest.replaceChildren(
    make("h1", {}, texts[0]),
    make("p", { class: "soft" }, texts[1]),
    num_images === 0 && isFirst ? factsList(state) : "",
    num_images === 0 && !ingest.running && state.may_open_projects ? make("div", { class: "rest-buttons" }, make("button", { type: "button", class: "strong", id: "rest-projects", onclick: openProjects }, phrase("rest.open_folder"))) : "",
    num_images ? make("div", { class: "rest-buttons" }, ...exportLinks("button")) : "",
  );
  rest.hidden = false;
  tagging.hidden = true;
  document.title = phrase("page.title", { what: texts[0], project: state.project });
}

/** The list as the project's order rules will save it, where that is another. */
function renderOrder(element, order, kept) {
  const isNewest = order && sameTags(order.kept, kept);
  element.hidden = !isNewest || sameTags(order.tags, kept);
  if (!element.hidden) element.replaceChildren(...(order.tags.length < kept.length ? pluralNodes("order.saved_as_fewer", kept.length - order.tags.length, { tags: make("b", {}, ...tagNodes(order.tags)) }) : phraseNodes("order.saved_as", { tags: make("b", {}, ...tagNodes(order.tags)) })));
}

function showEmpty(rest, tagging, visitor) {
  if (!rest.querySelector("#drop-area")) rest.replaceChildren(visitor.emptyPage());
  rest.hidden = false;
  tagging.hidden = true;
}

function countEffort(root, effort) {
  root.addEventListener("pointerdown", () => effort.click(), { capture: true });
  for (const sign of ["pointermove", "wheel"]) root.addEventListener(sign, () => effort.active(), { capture: true, passive: true });
  document.addEventListener("visibilitychange", () => (document.hidden ? effort.pause() : effort.resume()));
}

/** A mouse click on a button must not take the focus from the add box, or the next Enter would press it again. */
function keepFocus(root) {
  root.addEventListener("mousedown", (event) => {
    if (event.target.closest("input, select, summary, a, dialog, .file-name, .facts, .why-main, .timeline-list, .grid")) return;
    event.preventDefault();
  });
}

/**
 * A screen keyboard covers the lower part of the window: the page takes the part that is seen, and leaves out what is not
 * needed for typing.
 */
function followScreenKeyboard(root, input, isTouch) {
  const seen = window.visualViewport;
  if (!isTouch || !seen) return;
  let width = 0;
  let tallest = 0;
  const follow = () => {
    if (seen.width !== width) [width, tallest] = [seen.width, 0];
    tallest = Math.max(tallest, seen.height);
    const isOpen = document.activeElement === input && seen.height < KEYBOARD_SHARE * tallest;
    root.classList.toggle("keyboard-open", isOpen);
    root.style.setProperty("--seen-height", isOpen ? `${seen.height}px` : "100%");
    root.style.top = isOpen ? `${seen.offsetTop}px` : "";
  };
  seen.addEventListener("resize", follow);
  seen.addEventListener("scroll", follow);
  input.addEventListener("focus", follow);
  input.addEventListener("blur", follow);
  follow();
}
