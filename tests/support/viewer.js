// What a person does in the viewer, in headless Chromium; prints what was seen as one JSON object.
//   node viewer.js <url> <folder for screenshots> <width> <height> <JSON list of steps>
// Needs playwright-core (NODE_PATH) and Chromium. Steps:
//   ["number", axis, label]         type a number for an axis
//   ["slide", axis, key, times]     press a key on the handle of the slider of an axis
//   ["key", key]                    press a key on the page
//   ["click"|"hover"|"wheel", panel, x, y]   at a part of the width and height of a panel's frame
//   ["fill"|"choose", control, text]         type into a field, or choose from a list
//   ["shot", name]                  a screenshot
//   ["state", name]                 remember what is shown
const { chromium } = require('playwright-core');

const [url, folder, width, height, words] = process.argv.slice(2);

// What the models hold: titles, images and ranges of the figures, values of the controls.
const look = () => {
  const document = Bokeh.documents[0];
  const found = { panels: {}, controls: {} };
  for (const model of document._all_models.values()) {
    if (model.type === 'Figure') {
      const images = model.renderers.filter((r) => r.glyph.type === 'Image');
      const data = images.length && images[0].data_source.get_column ? images[0].data_source : null;
      const image = data && data.get_column('image') && data.get_column('image')[0];
      found.panels[model.name || model.title.text] = {
        title: model.title.text,
        shape: image ? Array.from(image.shape) : null,
        values: image && image.shape[0] * image.shape[1] <= 200000 ? Array.from(image).map((v) => (Number.isFinite(v) ? v : null)) : null,
        x: [model.x_range.start, model.x_range.end],
        y: [model.y_range.start, model.y_range.end],
        visible: model.visible,
      };
    } else if (model.name && model.type !== 'Column') {
      found.controls[model.name] = model.value ?? model.text ?? model.active ?? null;
    }
  }
  const mapper = [...document._all_models.values()].find((m) => m.type === 'LinearColorMapper' && m.palette.length === 256);
  found.colours = mapper ? [mapper.low, mapper.high] : null;
  return found;
};

// All that was done is answered: the server says of an empty key that it came, which is after what was done before,
// and that no answer is awaited.
let echoes = 0;
const still = async (page) => {
  await page.waitForTimeout(150);
  echoes += 1;
  const echo = `Echo ${echoes}`;
  await page.evaluate((word) => {
    named('command').value = word;
  }, echo);
  await page.waitForFunction((word) => named('command').title === word && named('waits').text === '', echo);
  await page.waitForTimeout(100);
};

const at = (page, panel, x, y) =>
  page.evaluate(
    ([name, fx, fy]) => {
      const view = viewOf(name);
      const outer = view.el.getBoundingClientRect();
      const box = view.frame.bbox;
      return [outer.x + box.left + fx * box.width, outer.y + box.top + fy * box.height];
    },
    [panel, x, y],
  );

(async () => {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
  const page = await browser.newPage({ viewport: { width: Number(width), height: Number(height) } });
  page.setDefaultTimeout(20000);
  const errors = [];
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.addInitScript(() => {
    window.named = (name) => [...Bokeh.documents[0]._all_models.values()].find((model) => model.name === name);
    // The view of a model, among those that others hold.
    window.viewOf = (name) => {
      const find = (views) => {
        for (const view of views) {
          if (view.model.name === name) return view;
          const inner = find(view.child_views || []);
          if (inner) return inner;
        }
        return null;
      };
      return find(Object.values(Bokeh.index.roots || Array.from(Bokeh.index)));
    };
  });
  await page.goto(url);
  await page.waitForFunction(() => window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle);
  await page.waitForFunction(() => named('waits') && named('waits').text === '');
  await still(page);
  const states = {};
  for (const [what, ...some] of JSON.parse(words)) {
    if (what === 'shot') await page.screenshot({ path: `${folder}/${some[0]}.png` });
    if (what === 'state') states[some[0]] = await page.evaluate(look);
    if (what === 'key') await page.keyboard.press(some[0]);
    if (what === 'fill' || what === 'number' || what === 'choose') {
      const name = what === 'number' ? `number ${some[0]}` : some[0];
      await page.evaluate(
        ([one, text]) => {
          const field = viewOf(one).shadow_el.querySelector('input, select');
          field.focus();
          field.value = text;
          field.dispatchEvent(new Event('input', { bubbles: true }));
          field.dispatchEvent(new Event('change', { bubbles: true }));
          field.blur();
        },
        [name, String(some[1])],
      );
    }
    if (what === 'slide') {
      await page.evaluate((name) => viewOf(name).shadow_el.querySelector('.noUi-handle').focus(), `slider ${some[0]}`);
      for (let n = 0; n < some[2]; n += 1) await page.keyboard.press(some[1]);
      await page.evaluate(() => document.activeElement && document.activeElement.blur());
    }
    if (what === 'click' || what === 'hover' || what === 'wheel') {
      const [x, y] = await at(page, ...some.slice(0, 3));
      await page.mouse.move(x - 2, y - 2);
      await page.mouse.move(x, y);
      if (what === 'click') await page.mouse.click(x, y);
      if (what === 'wheel') {
        await page.mouse.wheel(0, some[3] || -300);
        await page.waitForTimeout(1500); // Bokeh tells the server of ranges when the wheel has been still for a while
      }
    }
    if (what !== 'shot' && what !== 'state') await still(page);
  }
  console.log(JSON.stringify({ states, errors, address: page.url() }));
  await browser.close();
})().catch((error) => {
  console.error(error.stack);
  process.exit(1);
});
