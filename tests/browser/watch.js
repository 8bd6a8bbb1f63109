// Put into every page before its own scripts: what it shows now, and everything it has shown, in order.
window.shown = () => {
  const chat = document.querySelector("main");
  return chat && { ...chat.dataset, messages: [...chat.querySelectorAll("li")].map((item) => item.textContent) };
};
window.seen = [];
new MutationObserver(() => {
  const now = window.shown();
  if (now && JSON.stringify(now) !== JSON.stringify(window.seen.at(-1))) window.seen.push(now);
}).observe(document, { attributes: true, characterData: true, childList: true, subtree: true });
