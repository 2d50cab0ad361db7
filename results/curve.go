package results

// Curve is what a run costs at several memory budgets, from everything saved to the smallest arena that was found. Nothing
// of it is measured.
type Curve struct {
	Spec         Spec  // without a budget
	LocalModules int64 // K, as in Plan
	Points       []CurvePoint
}

// CurvePoint is a run planned with one budget.
type CurvePoint struct {
	BudgetBytes     int64 // of --budget; 0: no budget, everything is saved
	StepArenaBytes  int64 // of the training step
	ArenaBytes      int64 // that the run allocates
	LowerBoundBytes int64 // no layout of this point's training step can be smaller
	FLOPsPerSample  int64 // of a training step, recomputation included
	StepBytes       int64 // read and written by the ops of a training step, each operand once
	Recomputed      int64 // results that the backward pass recomputes
	Roofline        *Roofline
}
