"""The scores of a model's answers. One file per group of metrics:

estimates          a metric of some answers and its bootstrap interval over images
predictions        an answer, and the row of scores that it becomes
task_metrics       the metrics of each task: which score column gives which metrics
breakdowns         the same for parts of the answers: kind, length, size, confidence, split, unseen categories
captions           of generated expressions: CIDEr, COCO's own metrics, diversity
groups, average_precision               of tasks on several regions or none
round_trips, dialogue, oracle           of questions that follow from the answers
paired             two models compared answer by answer
evaluator          all of these for one model; `protocol` lists the questions to a model
error_kinds        in which way an answer to rec_box is wrong
main               the one metric of each task where there is room for one
headline, plots, report, panels, charts, viewer, gallery, drawing    for people to look at
"""
