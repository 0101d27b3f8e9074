// Draws the charts where the page has their specifications; a click on a mark shows the answers that it counts.

for (const script of document.querySelectorAll(".spec")) {
  const element = script.parentElement.querySelector(".chart");
  const { view } = await vegaEmbed(element, JSON.parse(script.textContent), { actions: false, ast: true, renderer: "svg" });
  view.addEventListener("click", (_, item) => item?.datum?.filter && window.showAnswers(item.datum.filter));
}
