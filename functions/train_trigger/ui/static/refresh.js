// Renews the page's content from time to time, if it is seen. Without it the page is whole, and stays as it was loaded.
(() => {
  "use strict";
  const seconds = Number(document.body.dataset.refresh);
  if (!seconds) return;
  const key = (element) => element && (element.id || element.getAttribute("href") || element.textContent);

  async function renew() {
    let wait = seconds;
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href, { credentials: "same-origin", cache: "no-store" });
        if (!answer.ok) throw new Error(String(answer.status));
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        put(page.getElementById("main"));
        document.body.classList.remove("stale");
        wait = Number(page.body.dataset.refresh) || seconds;
      } catch {
        document.body.classList.add("stale");
      }
    }
    setTimeout(renew, wait * 1000);
  }

  function put(fresh) {
    const main = document.getElementById("main");
    if (!fresh || String(getSelection())) return; // somebody copies something
    const open = [...main.querySelectorAll("details")].map((one) => one.open);
    const details = [...fresh.querySelectorAll("details")];
    if (details.length === open.length) details.forEach((one, place) => { one.open = open[place]; });
    const focused = main.contains(document.activeElement) ? key(document.activeElement) : null;
    main.replaceChildren(...fresh.childNodes);
    if (focused) {
      const again = [...main.querySelectorAll("a, summary")].find((one) => key(one) === focused);
      if (again) again.focus({ preventScroll: true });
    }
  }

  setTimeout(renew, seconds * 1000);
})();
