package androidx.activity

import android.content.Context
import android.os.Bundle
import android.view.View
import androidx.activity.result.ActivityResultLauncher
import androidx.activity.result.contract.ActivityResultContract
import androidx.lifecycle.LifecycleOwner

open class ComponentActivity : Context(TODO(), TODO()), LifecycleOwner {
    open fun onCreate(state: Bundle?): Unit = TODO()
    fun setContentView(layout: Int): Unit = TODO()
    fun <T : View> findViewById(id: Int): T = TODO()
    fun runOnUiThread(job: () -> Unit): Unit = TODO()
    fun <I, O> registerForActivityResult(contract: ActivityResultContract<I, O>, callback: (O) -> Unit): ActivityResultLauncher<I> = TODO()
}
